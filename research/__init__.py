"""Research: history, backtests and their measures, on the very step that trades."""
