"""Bars from files to what the scan reads."""
