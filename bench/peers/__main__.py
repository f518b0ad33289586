"""The same strategy on the same bars in other engines and in ours: equal trades first, then bars/s and memory.

python -m bench.peers                     a table
python -m bench.peers --json              {"ratio": {peer: our bars/s over theirs}, …}
python -m bench.peers --only vectorbt     one peer, or some; --minutes 5000: less than the real 50,000

Each engine runs in a process and an environment of its own (uv makes them in the user's cache on first use); what is
timed is said in `bench/peers/stopwatch.py`. Targets are judged at 50,000 minutes. Exit status: 0 all is met, 1 an
engine could not be run or a target is missed, 2 an engine traded otherwise (its figures are not shown).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.measure import Row
from bench.peers import bars as market
from bench.peers.environments import REQUIREMENTS, UnavailableError, cache_dir, python_of
from bench.peers.trades import DifferentTradesError, require_equal

HERE = Path(__file__).parent
TARGETS = {"backtrader": 1_000.0, "nautilus_trader": 1_000.0, "backtesting": 100.0, "vectorbt": 10.0}
TIMEOUT_S = 3_600.0
TIMED = (
    "processor seconds of each engine's own run, from bars in memory in its own form to all its trades; imports, "
    "compilation and preparing data are left out"
)


class Found(msgspec.Struct, frozen=True):
    """What one engine's process measured; cpu_s and wall_s: medians over its runs."""

    version: str
    bars: int
    runs: int
    cpu_s: float
    wall_s: float
    peak_mib: float

    @property
    def bars_per_s(self) -> float:
        return self.bars / self.cpu_s


class Comparison(msgspec.Struct, frozen=True):
    """failed: peers that could not be run, with the error; different: peers that traded otherwise, with how."""

    minutes: int
    trades: int
    ours: Found
    peers: dict[str, Found]
    failed: dict[str, str]
    different: dict[str, str]

    def ratio(self) -> dict[str, float]:
        """Our bars/s over each peer's."""
        return {name: self.ours.bars_per_s / found.bars_per_s for name, found in self.peers.items()}


def run(name: str, argv: Sequence[str], arrays: Path, folder: Path) -> tuple[Found, NDArray[np.float64]]:
    """One engine in its own process: what it measured, and its trades. Raises UnavailableError if it fails."""
    found, trades = folder / f"{name}.json", folder / f"{name}.npz"
    command = [*argv, str(arrays), str(found), str(trades)]
    environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=HERE.parents[1], env=environ, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
        raise UnavailableError(f"{name}: {said[-1].strip()}")
    with np.load(trades) as file:
        return msgspec.json.decode(found.read_bytes(), type=Found), file["trades"]


def compare(names: Sequence[str], minutes: int) -> Comparison:
    """Run ours and the named peers on the same bars, one after the other."""
    peers, failed, different = {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="rooney-peers-") as directory:
        folder = Path(directory)
        arrays, _ = market.write(market.market(minutes), folder)
        ours, our_trades = run("rooney", [sys.executable, "-m", "bench.peers.in_rooney"], arrays, folder)
        for name in names:
            print(f"{name} …", file=sys.stderr, flush=True)
            try:
                python = python_of(name, REQUIREMENTS[name], cache_dir())
                found, trades = run(name, [str(python), str(HERE / f"in_{name}.py")], arrays, folder)
                require_equal(name, trades, our_trades)
                peers[name] = found
            except UnavailableError as error:
                failed[name] = str(error)
            except DifferentTradesError as error:
                different[name] = str(error)
    return Comparison(minutes, len(our_trades), ours, peers, failed, different)


def rows(comparison: Comparison) -> list[Row]:
    """Lines for the table of the README; a peer without figures has one with the reason."""
    ours = comparison.ours
    size = f"{len(market.ROOTS)} × {comparison.minutes:,} minutes, {comparison.trades:,} trades"
    found = [Row(f"reference strategy, {size}", f"{ours.bars_per_s:,.0f} bars/s, {ours.peak_mib:.0f} MiB")]
    ratio = comparison.ratio()
    for name in TARGETS:
        target = f"≥ {TARGETS[name]:,.0f} ×"
        if name in comparison.peers:
            peer = comparison.peers[name]
            what = f"… faster than {name} {peer.version}, equal trades"
            measured = f"{ratio[name]:,.1f} × its {peer.bars_per_s:,.0f} bars/s, {peer.peak_mib:.0f} MiB"
            found.append(Row(what, measured, target, ratio[name] >= TARGETS[name]))
        elif error := comparison.failed.get(name) or comparison.different.get(name):
            found.append(Row(f"… faster than {name}", f"not measured: {error}", target, False))
    return found


def as_json(comparison: Comparison) -> dict[str, Any]:
    engines = {"rooney": comparison.ours} | comparison.peers
    return {
        "ratio": {name: round(value, 2) for name, value in comparison.ratio().items()},
        "targets": TARGETS,
        "timed": TIMED,
        "minutes": comparison.minutes,
        "instruments": len(market.ROOTS),
        "trades": comparison.trades,
        "bars_per_s": {name: round(found.bars_per_s) for name, found in engines.items()},
        "engines": {name: msgspec.to_builtins(found) for name, found in engines.items()},
        "failed": comparison.failed,
        "different": comparison.different,
        "load_1min": round(os.getloadavg()[0], 2),
        "rows": [msgspec.to_builtins(row) for row in rows(comparison)],
    }


def status(comparison: Comparison) -> int:
    """Exit status, see the module."""
    if comparison.different:
        return 2
    return 1 if comparison.failed or not all(row.met for row in rows(comparison)) else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="One strategy in several engines.")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    parser.add_argument("--only", nargs="+", choices=list(REQUIREMENTS), default=list(REQUIREMENTS))
    parser.add_argument("--minutes", type=int, default=market.MINUTES, help="per instrument (default: 50,000)")
    options = parser.parse_args(arguments)
    comparison = compare(options.only, options.minutes)
    if options.json:
        print(json.dumps(as_json(comparison), indent=2))
    else:
        print(f"Timed: {TIMED}. Load of this machine: {os.getloadavg()[0]:.1f}.\n")
        for row in rows(comparison):
            print(f"{row.what:<70} {row.measured:<50} {row.target}{'' if row.met else '  missed'}")
    return status(comparison)


if __name__ == "__main__":
    sys.exit(main())
