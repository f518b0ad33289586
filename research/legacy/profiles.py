"""`python -m research.legacy.profiles DATA`: how trades and P&L change from profile v1, the old system, to the default
one.

The `ibs` strategy as configured, one instrument at a time, so that no trade of one takes the place of another's: once
with the old clocks, days and defects, once without. Trades are matched one to one by side and entry, at most one hourly
bar apart.

DATA is whatever `rooney backtest` reads; or a folder laid out like the recorded parity set, whose stamps are naive and
in exchange time: they are converted, by Chicago for currencies and by New York for metals and energy. There the minutes
cover a few windows only: hours warm the strategy up before each, and only trades entered within a window count.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import polars as pl

from research.backtest import backtest
from research.history.history import History
from research.history.sessions import DAY_NS
from rooney.config.loader import load_config
from rooney.config.settings import Instrument, StrategyConfig
from rooney.errors import RooneyError
from rooney.format import iso
from rooney.market.instruments import PRODUCTS, group_of
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.market.sessions_v1 import NEW_YORK_GROUPS
from rooney.performance.pairs import nearest_pairs
from rooney.secrets import read_env_file

PROFILES = ("v1", "default")
_APART_NS = 7 * DAY_NS  # minutes farther apart than this belong to two windows
_FOREVER = (0, 1 << 62)
_PARITY = ("bars_1min.parquet", "bars_hourly.parquet")

Span = tuple[int, int]


class Row(msgspec.Struct, frozen=True):
    """Row of an instrument in a window: trades and USD after costs under v1 and under the default profile.

    matched:     trades both have; matched_usd: what they made under v1 and under the default
    window:      first and last UTC date, empty for all there is
    """

    window: str
    symbol: str
    trades_v1: int
    trades: int
    matched: int
    net_v1_usd: float
    net_usd: float
    matched_v1_usd: float
    matched_usd: float


def match(old: pl.DataFrame, new: pl.DataFrame, within_ns: int = HOUR_NS) -> list[tuple[int, int]]:
    """Pairs of rows of one side, entered at most `within_ns` apart, by time.

    old, new: entry_ts (UTC) and side, in order of entry_ts
    """
    theirs, ours = (
        list(zip(frame["side"].to_list(), frame["entry_ts"].dt.timestamp("ns").to_list(), strict=True))
        for frame in (old, new)
    )
    return nearest_pairs(theirs, ours, lambda row: row[0], lambda row: row[1], within_ns)


def compare(symbol: str, window: Span, trades: dict[str, pl.DataFrame]) -> Row:
    """Row of an instrument. trades: by profile."""
    begin_ns, end_ns = window
    entered = pl.col("entry_ts").dt.timestamp("ns")
    old, new = (trades[name].filter(entered.is_between(begin_ns, end_ns)).sort("entry_ts") for name in PROFILES)
    pairs = match(old, new)
    return Row(
        "" if window == _FOREVER else f"{iso(begin_ns)[:10]} to {iso(end_ns)[:10]}",
        symbol,
        len(old),
        len(new),
        len(pairs),
        float(old["pnl_usd"].sum()),
        float(new["pnl_usd"].sum()),
        float(old["pnl_usd"].gather([i for i, _ in pairs]).sum()),
        float(new["pnl_usd"].gather([j for _, j in pairs]).sum()),
    )


def is_parity(data: Path) -> bool:
    """A folder is laid out like the recorded set."""
    return all((data / name).is_file() for name in _PARITY)


def convert(data: Path, to: Path) -> list[Span]:
    """Write the bars of a parity folder with UTC stamps into `to`; the windows its minutes cover, by time."""
    spans: list[Span] = []
    for name, timeframe in zip(_PARITY, ("1min", "hourly"), strict=True):
        frame = pl.read_parquet(data / name).filter(pl.col("symbol").is_in(list(PRODUCTS)))
        parts = []
        for (symbol,), part in frame.group_by("symbol", maintain_order=True):
            zone = "America/New_York" if group_of(str(symbol)) in NEW_YORK_GROUPS else "America/Chicago"
            at = pl.col("datetime").dt.replace_time_zone(zone).dt.convert_time_zone("UTC").alias("ts_open")
            parts.append(
                part.select(
                    at,
                    pl.col("symbol").alias("root"),
                    pl.lit(timeframe).alias("timeframe"),
                    "open",
                    "high",
                    "low",
                    "close",
                    "volume",
                )
            )
        bars = pl.concat(parts).sort("ts_open", "root", maintain_order=True)
        bars.write_parquet(to / name)
        if timeframe == "1min":
            opens = bars["ts_open"].unique().sort().dt.timestamp("ns").to_list()
            edges = [opens[0], *(ts for a, b in pairwise(opens) if b - a > _APART_NS for ts in (a, b)), opens[-1]]
            spans = [(a, b + MINUTE_NS) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return spans


def alone(strategy: StrategyConfig, root: str, profile: str) -> StrategyConfig:
    """The strategy on one instrument, configured or not, under a profile."""
    product = PRODUCTS[root]
    item = strategy.instruments.get(root) or Instrument(
        root=root,
        databento_product_id=f"{root}.FUT",
        tradovate_symbol=root,
        size=1,
        commission=product.commission_usd,
        multiplier=product.point_value,
        margin=product.margin_usd,
        tick_size=product.tick_size,
        slippage_ticks=1.0,
        reference=False,
    )
    settings = msgspec.structs.replace(strategy.settings, profile=profile, max_positions=1)
    return msgspec.structs.replace(
        strategy, settings=settings, instruments=strategy.instruments | {root: item}, traded={root: item}
    )


def table(strategies: dict[str, dict[str, StrategyConfig]], data: Path, windows: Sequence[Span]) -> list[Row]:
    """Rows by instrument and window. strategies: symbol → profile → the strategy on that instrument alone."""
    rows = []
    for symbol, by_profile in strategies.items():
        trades = {}
        for name, strategy in by_profile.items():
            trades[name] = backtest.run(strategy, History(data, backtest.roots_of(strategy))).trades
        rows += [compare(symbol, window, trades) for window in windows]
    return rows


def lines(rows: Sequence[Row]) -> list[str]:
    """The table in Markdown, with a last line of sums."""
    names = Row.__struct_fields__[2:]
    total = Row("all", "all", *(sum(getattr(row, name) for row in rows) for name in names))
    head = "| window (UTC) | root | trades v1 | default | matched | net v1, USD | default | matched v1 | default |"
    body = [
        f"| {row.window or 'all there is'} | {row.symbol} | {row.trades_v1} | {row.trades} | {row.matched} |"
        + "".join(f" {usd:,.0f} |" for usd in (row.net_v1_usd, row.net_usd, row.matched_v1_usd, row.matched_usd))
        for row in (*rows, total)
    ]
    return [head, "|---|---|" + "---:|" * len(names), *body]


def main() -> None:
    """Compare profile v1 with the default profile, instrument by instrument."""
    parser = argparse.ArgumentParser(prog="python -m research.legacy.profiles", description=main.__doc__)
    parser.add_argument("data", type=Path, help="what `rooney backtest` reads, or a folder like the recorded set")
    parser.add_argument("--config", default="config.multi_alpha.yml", help="configuration file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one key of it")
    parser.add_argument("--env-file", type=Path, help="variables for a terminal session")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    given = parser.parse_args()
    if given.env_file is not None:
        read_env_file(given.env_file, os.environ)
    with tempfile.TemporaryDirectory(prefix="rooney-profiles-") as folder:
        data, windows = given.data, [_FOREVER]
        if is_parity(data):
            windows = convert(data, Path(folder))
            data = Path(folder)
        held = [root for root in PRODUCTS if root not in History(data, list(PRODUCTS)).missing]
        ibs = load_config(given.config, given.set).strategy("ibs")
        rows = table({root: {name: alone(ibs, root, name) for name in PROFILES} for root in held}, data, windows)
    print(json.dumps([msgspec.to_builtins(row) for row in rows]) if given.json else "\n".join(lines(rows)))


if __name__ == "__main__":
    try:
        main()
    except RooneyError as error:
        raise SystemExit(f"research.legacy.profiles: {error}") from error
