"""The hub process: trades in, minutes out."""
