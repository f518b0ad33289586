"""The system's state, for everyone who only looks: `rooney status`, `rooney top`, the dashboard, /metrics.

Read from ledgers, the control directory, Redis and control groups, each on its own: what is away is said to be away and
the rest is shown. Nothing here writes, and nothing here carries a compiler or numpy.
"""
