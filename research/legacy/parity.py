"""`python -m research.legacy.parity DIR`: the real `ibs` strategy, profile v1, against recorded runs of the old system.

DIR is laid out like the recorded set (its README): hourly and daily bars with naive exchange-local stamps, `trades.csv`
and, as far as they are there, other lists and values of indicators, features and scores. Ours are those of
`research.legacy.harness`.
"""

import argparse
import gzip
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from research.legacy.harness import INDICATORS, Harness, ListedTrade, field_of, stamps_of
from rooney.errors import RooneyError
from rooney.format import price_text
from rooney.kernels.array_types import F64
from rooney.performance.pairs import differing

PRICE_TOLERANCE = 1e-9
VALUES = ("indicators", "features", "ml_inputs")
COUNTS = ("expected", "equal", "missing", "extra")


def recorded(folder: Path) -> dict[tuple[str, str], list[ListedTrade]]:
    """Every trade list of a folder by (list, symbol); those the old code could not run, or nobody, are not there."""
    frames = {"default": pl.read_csv(folder / "trades.csv").with_columns(pl.lit("default").alias("variant"))}
    for path in (folder / "trades_other.csv.gz", folder / "trades_variants.csv.gz"):
        if path.is_file():
            frames[path.name] = pl.read_csv(gzip.decompress(path.read_bytes()))
    found: dict[tuple[str, str], list[ListedTrade]] = {}
    for frame in frames.values():
        stamps = [
            pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ns").dt.timestamp("ns")
            for name in ("entry_signal_time", "entry_time", "exit_signal_time", "exit_time")
        ]
        rows = frame.with_columns(stamps).select(
            "variant",
            "symbol",
            "entry_signal_time",
            "entry_time",
            "entry_price",
            "exit_signal_time",
            "exit_reason",
            "exit_time",
            "exit_price",
        )
        for variant, symbol, *trade in rows.iter_rows():
            found.setdefault((variant, symbol), []).append(ListedTrade(*trade))
    return found


class Compared(msgspec.Struct, frozen=True):
    """Outcome of a list: trades recorded, and how ours differ. same: up to PRICE_TOLERANCE in prices."""

    expected: int
    equal: int
    missing: list[ListedTrade]
    extra: list[ListedTrade]


def compare(expected: list[ListedTrade], ours: list[ListedTrade]) -> Compared:
    """Match by entry signal; a trade that differs in anything is missing and extra."""
    recorded_by, ours_by = ({trade.entry_signal: trade for trade in trades} for trades in (expected, ours))
    parted = set(differing(recorded_by, ours_by, _same))
    missing, extra = ([trade for trade in trades if trade.entry_signal in parted] for trades in (expected, ours))
    return Compared(len(expected), len(recorded_by.keys() - parted), missing, extra)


def _same(one: ListedTrade | None, other: ListedTrade | None) -> bool:
    if one is None or other is None:
        return False
    stamps = (one.entry, one.exit_signal, one.reason, one.exit) == (
        other.entry,
        other.exit_signal,
        other.reason,
        other.exit,
    )
    prices = ((one.entry_price, other.entry_price), (one.exit_price, other.exit_price))
    return stamps and all(math.isclose(a, b, rel_tol=PRICE_TOLERANCE) for a, b in prices)


def columns(harness: Harness, symbol: str) -> dict[str, dict[str, float]]:
    """Worst relative difference of each column of indicators and features, and of the scores, for one instrument.

    Scores of the recorded inputs, and of our own values of them. The old code squared a mean with pow(), which now and
    then rounds otherwise than a product, so some of its deviations differ from ours in the tenth digit.
    """
    if not any((harness.folder / f"{file}.parquet").is_file() for file in VALUES):
        return {}
    stamps, values = harness.values(symbol)
    fields = {field: k for k, field in enumerate(harness.of_columns.layout.fields)}
    found: dict[str, dict[str, float]] = {}
    for file, named in (("indicators", INDICATORS), ("features", harness.columns)):
        if not (path := harness.folder / f"{file}.parquet").is_file():
            continue
        frame = pl.read_parquet(path).filter(pl.col("symbol") == symbol)
        at = np.searchsorted(stamps, stamps_of(frame))
        found[file] = {
            name: worst(frame[name].cast(pl.Float64).to_numpy(), values[at, fields[field_of(file, name)]])
            for name in named
            if name in frame.columns
        }
    if not (path := harness.folder / "ml_inputs.parquet").is_file():
        return found
    scored = pl.read_parquet(path).filter(pl.col("symbol") == symbol)
    found["scores"], found["scores of our values"] = {}, {}
    for (name,), frame in scored.group_by("variant", maintain_order=True):
        engine = harness.engine(harness.of_columns, symbol, harness.default, veto=harness.veto(str(name), symbol))
        expected = frame["ml_score"].to_numpy()
        at = np.searchsorted(stamps, stamps_of(frame))
        found["scores of our values"][str(name)] = worst(
            expected, np.array([engine.score(symbol, values[k]) for k in at])
        )
        given = np.full((len(frame), len(fields)), math.nan)
        for own, feature in harness.inputs(f"{name}:{symbol}").items():
            given[:, fields[f"m_{feature}"]] = frame[own].cast(pl.Float64).to_numpy()
        found["scores"][str(name)] = worst(expected, np.array([engine.score(symbol, row) for row in given]))
    return found


def worst(expected: F64, ours: F64) -> float:
    """Largest relative difference; infinite where one of the two has no value."""
    missing = np.isnan(expected)
    if (missing != np.isnan(ours)).any():
        return math.inf
    known, found = expected[~missing], ours[~missing]
    # A difference of two numbers that should be 0 is judged by the size of the column, not by its own.
    floor = 0.01 * float(np.median(np.abs(known))) if len(known) else 0.0
    scale = np.maximum(np.maximum(np.abs(known), np.abs(found)), max(floor, 1e-12))
    return float((np.abs(known - found) / scale).max()) if len(known) else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the ibs strategy (profile v1) with the recorded runs of the old system in FOLDER; 1 if a trade differs.

    As JSON: `lists`, each with expected, equal, missing and extra trades in all and in `symbols`, and per file of
    values the worst relative difference of each column, null where one side has no value.
    """
    parser = argparse.ArgumentParser(prog="python -m research.legacy.parity", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    given = parser.parse_args(arguments)
    try:
        harness = Harness(given.folder)
        lists = recorded(given.folder)
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError, RooneyError) as error:
        parser.error(f"{given.folder}: not laid out like the recorded set: {error}")
    report = Report(harness, lists, given.json)
    differing = report.trades()
    report.values()
    if given.json:
        print(json.dumps(report.found))
    return 1 if differing else 0


class Report:
    """Runs everything and says it, as it goes or at the end."""

    def __init__(self, harness: Harness, lists: dict[tuple[str, str], list[ListedTrade]], quiet: bool) -> None:
        self._harness = harness
        self._lists = lists
        self._quiet = quiet
        self.found: dict[str, Any] = {"lists": {}}

    def _say(self, text: str) -> None:
        if not self._quiet:
            print(text)

    def trades(self) -> int:
        """Number of lists that differ."""
        self._say(f"{'list':<24}{'symbol':<8}" + "".join(f"{name:>9}" for name in COUNTS))
        differing = 0
        for (name, symbol), expected in self._lists.items():
            result = compare(expected, self._harness.run(name, symbol))
            row = dict(
                zip(COUNTS, (result.expected, result.equal, len(result.missing), len(result.extra)), strict=True)
            )
            found = self.found["lists"].setdefault(name, dict.fromkeys(COUNTS, 0) | {"symbols": {}})
            found["symbols"][symbol] = row
            for count, number in row.items():
                found[count] += number
            self._say(f"{name:<24}{symbol:<8}" + "".join(f"{number:>9}" for number in row.values()))
            for word, trades in (("missing", result.missing), ("extra", result.extra)):
                for trade in trades[:3]:
                    self._say(f"    {word}: {_described(trade)}")
            differing += bool(result.missing or result.extra)
        total = [sum(found[count] for found in self.found["lists"].values()) for count in COUNTS]
        self._say(f"{'all':<32}" + "".join(f"{number:>9}" for number in total))
        return differing

    def values(self) -> None:
        """Worst relative difference of every column, over all instruments."""
        worst_of: dict[str, dict[str, float]] = {}
        for symbol in dict.fromkeys(symbol for _, symbol in self._lists):
            for file, found in columns(self._harness, symbol).items():
                for name, difference in found.items():
                    known = worst_of.setdefault(file, {})
                    known[name] = max(known.get(name, 0.0), difference)
        for file, found in worst_of.items():
            self.found[file] = {name: number if math.isfinite(number) else None for name, number in found.items()}
            self._say(f"\n{file}: worst relative difference")
            for name, difference in found.items():
                self._say(f"  {name:<40}{difference:.1e}")


def _described(trade: ListedTrade) -> str:
    entry, out = (np.datetime64(ts, "ns").astype("datetime64[m]") for ts in (trade.entry_signal, trade.exit_signal))
    return f"{entry} at {price_text(trade.entry_price)}, {out} at {price_text(trade.exit_price)}, {trade.reason}"


if __name__ == "__main__":
    sys.exit(main())
