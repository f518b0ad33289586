"""The scan over history and what it gives."""
