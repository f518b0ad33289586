"""Trades CME futures with several independent strategies: one hub, one process per strategy, one compiled step."""

__version__ = "0.1.0"
