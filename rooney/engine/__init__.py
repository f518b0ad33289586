"""The core of a worker and of a backtest: one minute in, decisions out."""
