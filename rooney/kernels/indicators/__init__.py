"""Indicators as recursions."""
