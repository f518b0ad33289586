"""Mutants of what judges a result: each is a change that some test must fail for; run by `python -m tests.mutants`."""
