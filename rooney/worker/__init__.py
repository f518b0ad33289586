"""The worker process: minutes in, orders out."""
