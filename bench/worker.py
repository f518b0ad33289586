"""`rooney worker` with a stopwatch on every commit of its ledger: `python -m bench.worker COMMITS.json worker NAME …`.

The worker is the real one and does the same work; when it ends, (start, end) of each commit, in wall clock ns, are
written to COMMITS.json. Nearly all of a durable commit is its fsync.
"""

import atexit
import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

commits: list[tuple[int, int]] = []


class TimedConnection(sqlite3.Connection):
    """Notes when a COMMIT began and ended."""

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        if sql != "COMMIT":
            return super().execute(sql, *args)
        started_ns = time.time_ns()
        cursor = super().execute(sql)
        commits.append((started_ns, time.time_ns()))
        return cursor


def main() -> None:
    path = Path(sys.argv.pop(1))
    connect = sqlite3.connect

    def timed_connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, **kwargs, factory=TimedConnection)

    sqlite3.connect = timed_connect  # type: ignore[assignment]
    atexit.register(lambda: path.write_text(json.dumps(commits)))

    from rooney.cli import main as rooney

    rooney()


if __name__ == "__main__":
    main()
