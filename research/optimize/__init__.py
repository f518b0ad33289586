"""Searches for parameters and instruments."""
