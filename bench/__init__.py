"""Benchmarks of every claimed number. `pytest bench --benchmark-only`, or `python -m bench.report` for the table."""
