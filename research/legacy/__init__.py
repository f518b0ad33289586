"""The old system: parity, its models and parameters. To be deleted after the cutover."""
