"""One reference strategy on one market, in other backtesting engines and in ours: `python -m bench.peers`."""
