"""Bars on disk: read from files or bought from Databento, checked, kept in one form, and given back in order.

    file (Parquet, CSV, DBN) → sources: frame → checks: frame and findings → store: Parquet → past: bars and rolls
    Databento → download: DBN, kept as it came → the same way

frame.py   the columns every step hands to the next
"""
