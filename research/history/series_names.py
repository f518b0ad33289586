"""Root, contract and timeframe that the columns of a row mean, the same in an import and in a backtest."""

import re
from collections.abc import Container
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from research.history import kernels as runs
from rooney.errors import ConfigError
from rooney.market.instruments import MONTH_CODES, Contract, parse_contract, parse_ticker
from rooney.market.messages import price_floor

MINUTES, HOURS, DAYS = 0, 1, 2
# What vendors call the same spans of time, and Databento's rtype.
TIMEFRAMES = {
    **dict.fromkeys(("1min", "1m", "minute", "60s", "33"), MINUTES),
    **dict.fromkeys(("hourly", "1h", "60min", "hour", "34"), HOURS),
    **dict.fromkeys(("daily", "1d", "day", "35"), DAYS),
}
SPACED_ROWS = 4_096  # so many rows of a file tell how far apart its bars are
_YEAR_NS = 31_556_952_000_000_000
_YEARS_OUT = 20  # no exchange lists a contract for later
_ROOT = re.compile(r"^[A-Z0-9]{2,3}$")
_MONTH = re.compile(r"^((?:19|20)\d{2})(0[1-9]|1[0-2])$")
_OUTRIGHT = re.compile(rf"^([A-Z0-9]{{2,3}}?)[{MONTH_CODES}](?:\d{{1,2}}|\d{{4}})$")
_CONTINUOUS = re.compile(r"^([A-Z0-9]{2,3})[.](?:[cnv][.]\d+|FUT)$")


def named(name: str, root: str = "", roots: Container[str] = ()) -> tuple[str, str, str]:
    """Root and contract that the columns of a row mean, and the kind of finding if it is no outright's.

    name:  of a contract (ESZ5, ESZ2025, 202512) or a series (ES, ES.c.0), which has no contract
    root:  "" where the row does not say it
    roots: known names of series
    """
    first, *more = re.split("[-: ]", name)
    if name in ("", root) or name in roots or _ROOT.match(name):
        own, contract = name or root, ""
    elif match := _CONTINUOUS.match(name):
        own, contract = match[1], ""
    elif match := _OUTRIGHT.match(first):
        own, contract = match[1], name
    else:
        own, contract = (root if _MONTH.match(name) else "" if root else first), name
    lack = "not_outright" if more else "no_root" if not _ROOT.match(root or own) else ""
    return root or own, contract, lack or ("" if own == (root or own) else "wrong_root")


def rule(timeframe: int, root: str, contract: str, lack: str) -> tuple[int, int, float, int, int]:
    """What rows of a series are judged by, a `kernels.RULE`."""
    digits = re.search(r"\d*$", "" if lack else contract)[0]  # type: ignore[index]
    listed = (-1 << 62, 1 << 62)
    if len(digits) > 1:  # one says no decade
        years = min(int(digits[:4]) + (0 if len(digits) > 2 else 2000) - 1970, 200)
        listed = ((years - _YEARS_OUT) * _YEAR_NS, (years + 1) * _YEAR_NS)
    return timeframe, runs.LACKS.index(lack), price_floor(root), *listed


def spacing(file: Path, rows: pl.DataFrame) -> str:
    """The timeframe of bars that do not say theirs, by the time between them; minutes where there is only one time.

    rows: `name` and `ts` (UTC ns) of the first ones of the file
    Raises ConfigError for one that is neither minutes nor hours nor days.
    """
    rows = rows.filter(pl.col("ts") > 0).unique().sort("name", "ts")
    gaps = rows.select(pl.col("ts").diff().over("name")).to_series().drop_nulls().to_numpy()
    if not len(gaps):
        return "1min"
    grid_ns = int(np.gcd.reduce(np.diff(np.unique(rows["ts"].to_numpy())), initial=0))
    # Days are up to an hour longer and shorter when the clocks change.
    if gaps.min() > 20 * runs.HOUR_NS and ((gaps + runs.HOUR_NS) % runs.DAY_NS <= 2 * runs.HOUR_NS).all():
        return "daily"
    if gaps.min() == grid_ns == runs.HOUR_NS:
        return "hourly"
    if grid_ns <= runs.MINUTE_NS or (runs.HOUR_NS % grid_ns and grid_ns % runs.HOUR_NS):
        return "1min"
    raise ConfigError(
        f"{file}: its bars are {gaps.min() / runs.MINUTE_NS:g} min apart and nothing says of what they are; taken are "
        "minutes, hours and days, named by a column timeframe (or --timeframe of an import); nothing of it was taken"
    )


def contract_of(raw: str, root: str, day: date) -> Contract | None:
    """The contract a name means on `day`: ESZ5, ESZ25, ESZ2025, or the 202512 of a known root; None for a spread."""
    if match := _MONTH.match(raw):
        return Contract(root, int(match[1]), int(match[2]))
    # Only month and year matter, and fewer questions are remembered.
    return parse_ticker(raw) or parse_contract(raw, day.replace(day=1))
