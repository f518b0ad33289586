"""A market of two roots and three trade dates, as an archive gives it."""

from datetime import date

from rooney.sim.market import Market

ROOTS = ["ES", "GC"]
FIRST = date(2026, 2, 26)  # three trade dates, the last of which begins on Sunday, the first of March
MARKET = Market(5, FIRST, 3, trades_per_minute=20.0, roots=ROOTS)
