"""The configuration file, credentials and accounts."""
