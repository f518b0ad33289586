"""The README's five numbers, copied from docs/BENCHMARKS.md.

python -m bench.headlines    write them between the README's <!-- bench --> and <!-- /bench -->
"""

import sys
from pathlib import Path

from bench.report import write

ROOT = Path(__file__).parents[1]
# What the README calls a row, the row it is nested under (lines with … belong to the line above them), and the row.
ROWS = (
    (
        "closing record → first order at the webhook, less the journal's commits, p50 / p99 / max",
        "closing record → webhook",
        "… without them",
    ),
    ("trades made into bars, sustained", "", "socket → bars, sustained"),
    ("a minute of 18 instruments → decisions, p50 / p99", "", "minute → decisions, ibs, 18 instruments"),
    ("backtest, 18 instruments × 10 years of minutes", "", "ibs, 18 instruments × 10 years"),
    ("reference strategy, times as fast as in vectorbt", "", "… faster than vectorbt"),
)


def headlines(benchmarks: str) -> str:
    """Table of the five rows. Raises LookupError for a row that was not measured."""
    measured = [line.strip("| ").split(" | ") for line in benchmarks.splitlines() if line.startswith("| ")]
    lines = ["| | measured | target |", "|---|---|---|"]
    for label, parent, start in ROWS:
        position = next((i for i, cells in enumerate(measured) if cells[0].startswith(parent)), None)
        found = next((cells for cells in measured[position:] if cells[0].startswith(start)), None)
        if position is None or found is None:
            raise LookupError(f"docs/BENCHMARKS.md has no row {start!r} under {parent!r}")
        lines.append(f"| {label} | {found[1]} | {found[2]} |")
    return "\n".join(lines)


def main() -> int:
    """Write the README's table; the exit status."""
    write(ROOT / "README.md", headlines((ROOT / "docs" / "BENCHMARKS.md").read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
