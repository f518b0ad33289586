"""Strategies shipped with rooney: one file each."""
