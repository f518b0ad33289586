"""`rooney backtest --all`: what every strategy decides on one small market, kept in a file to be compared with.

The market is the same to the last bit on every machine: a walk in whole ticks out of the raw bits of PCG64, whose
stream numpy promises never to change, turned into prices as the hub does it. Every root is thin in places and rolls
once. It carries no information; it is there so that a changed decision, trade or price is seen, and must be meant.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

import strategies
from research.backtest import backtest
from research.history.history import History
from research.history.sessions import session_windows
from rooney.config.loader import Config
from rooney.config.schema import StrategyBlock
from rooney.config.settings import StrategyConfig
from rooney.errors import ConfigError, FileError, MissingFileError
from rooney.files import read_json
from rooney.kernels.array_types import I64, Booleans
from rooney.market import sessions
from rooney.market.instruments import PRODUCTS, Contract, following, group_of, nearest
from rooney.market.sessions import MINUTE_NS
from rooney.strategy.loader import find

FIRST = date(2026, 1, 12)
SESSIONS = 20
_LEVEL_TICKS = 40_000
_BASIS_TICKS = 40  # what the following contract is dearer
_WELL_BEYOND = timedelta(days=14)  # the first contract trades longer than this after the last session
_ROLLS_AFTER = 12  # sessions; one more from root to root, five at most


class Golden(msgspec.Struct, frozen=True):
    """Deeds of a strategy. digest: of every decision; net_pnl_usd per instrument: (trades, USD)."""

    digest: str
    decisions: int
    trades: int
    net_pnl_usd: float
    instruments: dict[str, tuple[int, float]]


class File(msgspec.Struct, frozen=True):
    """The golden file. data_sha256: of the bars all strategies ran on."""

    data_sha256: str
    strategies: dict[str, Golden]


def write_market(folder: Path, roots: Iterable[str] = tuple(PRODUCTS), sessions_: int = SESSIONS) -> Path:
    """The market's bars as a Parquet file in `folder`."""
    days = [FIRST]
    while len(days) < sessions_:
        days.append(sessions.next_trade_date(days[-1]))
    path = folder / "market.parquet"
    pl.concat([_bars(root, days) for root in roots]).write_parquet(path)
    return path


def _bars(root: str, days: list[date]) -> pl.DataFrame:
    group = group_of(root)
    begin_ns, end_ns = sessions.session_open_ns(group, days[0]), sessions.session_close_ns(group, days[-1])
    windows = session_windows(group, begin_ns, end_ns)
    opens = np.concatenate([np.arange(a, b, MINUTE_NS) for a, b in zip(windows.open_ns, windows.close_ns, strict=True)])
    bits = np.random.PCG64(zlib.crc32(root.encode())).random_raw(len(opens))
    close = _LEVEL_TICKS + np.cumsum(_part(bits, 0, 13) - 6)
    open_ = np.concatenate([[_LEVEL_TICKS], close[:-1]]) + _part(bits, 8, 3) - 1
    high, low = np.maximum(open_, close) + _part(bits, 16, 4), np.minimum(open_, close) - _part(bits, 24, 4)
    volume = 1 + _part(bits, 32, 100)
    traded = _part(bits, 40, 10) < 8
    front = nearest(root, days[-1] + _WELL_BEYOND)
    turn = days[min(_ROLLS_AFTER + zlib.crc32(root.encode()) % 5, len(days) - 1)]
    turn_ns = sessions.session_open_ns(group, turn)
    late = opens >= turn_ns
    parts = [
        _frame(root, front, opens, (open_, high, low, close), np.where(late, 1, 10 * volume), traded),
        _frame(
            root,
            following(front),
            opens,
            tuple(price + _BASIS_TICKS for price in (open_, high, low, close)),
            np.where(late, 10 * volume, 1),
            traded & (opens >= turn_ns - 5 * 24 * sessions.HOUR_NS),
        ),
    ]
    return pl.concat(parts).sort("ts_open", "contract", maintain_order=True)


def _part(bits: NDArray[np.uint64], shift: int, count: int) -> I64:
    """Whole numbers below `count` out of some of the bits."""
    return ((bits >> np.uint64(shift)) % np.uint64(256) % np.uint64(count)).astype(np.int64)


def _frame(
    root: str, contract: Contract, opens: I64, prices: tuple[I64, ...], volume: I64, chosen: Booleans
) -> pl.DataFrame:
    tick_e9 = round(PRODUCTS[root].tick_size * 1e9)
    names = ("open", "high", "low", "close")
    columns = {name: (ticks[chosen] * tick_e9) / 1e9 for name, ticks in zip(names, prices, strict=True)}
    frame = pl.DataFrame({"ts_open": opens[chosen], **columns, "volume": volume[chosen]})
    return frame.select(
        pl.col("ts_open").cast(pl.Datetime("ns", "UTC")),
        pl.lit(root).alias("root"),
        pl.lit(contract.raw).alias("contract"),
        *columns,
        "volume",
    )


def strategies_of(config: Config) -> list[StrategyConfig]:
    """Every strategy of a configuration, then each shipped file that none of them uses, on all that may be traded."""
    found = [config.strategy(name) for name in config.names]
    used = {find(strategy.strategy) for strategy in found}
    traded = {root: item for root, item in config.instruments().items() if not item.reference}
    for path in sorted(Path(strategies.__path__[0]).glob("[!_]*.py")):
        if path not in used:
            block = StrategyBlock(strategy=str(path), mode="dry", instruments=tuple(traded))
            found.append(StrategyConfig(path.stem, str(path), block, config.instruments(), traded, None))
    return found


def run_all(configured: Iterable[StrategyConfig], data: Path) -> File:
    """Every strategy over the same bars."""
    found = {}
    for strategy in configured:
        history = History(data, backtest.roots_of(strategy))
        result = backtest.run(strategy, history)
        rows = result.trades.group_by("symbol").agg(pl.len(), pl.col("pnl_usd").sum().round(6)).sort("symbol").rows()
        found[strategy.name] = Golden(
            result.digest,
            result.decisions,
            len(result.trades),
            round(result.measures["net_pnl_usd"], 6),
            {symbol: (count, pnl) for symbol, count, pnl in rows},
        )
    values = hashlib.sha256()  # of the bars, not of a file: how it is written is decided by the library that writes it
    for chunk in History(data, list(PRODUCTS)).chunks():
        values.update(chunk.tobytes())
    return File(values.hexdigest(), found)


def read(path: Path) -> File:
    """A golden file. Raises ConfigError."""
    try:
        return read_json(path, File)
    except MissingFileError:
        raise ConfigError(f"{path}: no such golden file; --update writes one") from None
    except FileError as error:
        raise ConfigError(f"{path}: not a golden file: {error.why}; --update writes a new one") from None


def write(path: Path, found: File) -> None:
    """Keep what was found, in a form whose changes are read line by line."""
    path.write_text(json.dumps(msgspec.to_builtins(found), indent=1, sort_keys=True) + "\n")


def differences(kept: File, found: File) -> list[str]:
    """Differences from what was kept, in words; empty if nothing changed."""
    if kept.data_sha256 != found.data_sha256:
        return [f"the market: its bars are others ({kept.data_sha256[:12]} is now {found.data_sha256[:12]})"]
    told = []
    for name in dict.fromkeys((*kept.strategies, *found.strategies)):
        old, new = kept.strategies.get(name), found.strategies.get(name)
        if old is None or new is None:
            told.append(f"{name}: {'is new' if old is None else 'is gone'}")
        elif old != new:
            told.append(f"{name}: {', '.join(_changes(old, new))}")
    return told


def _changes(old: Golden, new: Golden) -> list[str]:
    told = []
    if old.digest != new.digest:
        told.append(f"digest {old.digest} is now {new.digest}")
    if old.decisions != new.decisions:
        told.append(f"decisions {old.decisions:,} are now {new.decisions:,}")
    if (old.trades, old.net_pnl_usd) != (new.trades, new.net_pnl_usd):
        told.append(
            f"{old.trades:,} trades of {old.net_pnl_usd:+,.2f} USD are now {new.trades:,} of {new.net_pnl_usd:+,.2f}"
        )
    told += _per_instrument(old.instruments, new.instruments)
    return told


def _per_instrument(old: Mapping[str, tuple[int, float]], new: Mapping[str, tuple[int, float]]) -> list[str]:
    none: tuple[int, float] = (0, 0.0)
    pairs = [(symbol, old.get(symbol, none), new.get(symbol, none)) for symbol in dict.fromkeys((*old, *new))]
    changed = [(symbol, a, b) for symbol, a, b in pairs if a != b]
    return [f"{symbol} {a[0]} of {a[1]:+,.2f} are now {b[0]} of {b[1]:+,.2f}" for symbol, a, b in changed]
