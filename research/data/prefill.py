"""The store → what a hub would have left on Redis: closed bars of the front contracts, rolls, volumes per contract.

Contracts are chosen by `research.history.history`, that is by the hub's own rule; hours and days are folded by the
hub's own code. Nothing here touches Redis: `rooney.bus.prefill` writes what this gives.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from research.history.history import History
from research.history.series_names import contract_of
from rooney.errors import ConfigError
from rooney.market import sessions
from rooney.market.instruments import Contract, contract_from_number, group_of
from rooney.market.messages import Bar, BarFlag, Roll
from rooney.market.resample import Coarse
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import ContractCount
from rooney.market.timeframes import TIMEFRAMES

RULE = "history"  # what Roll.rule says of rolls that no hub saw
REACH_NS = 2_200 * 24 * sessions.HOUR_NS  # six years: as far as a stream of 1,400 daily bars goes back
VOLUME_DAYS = 10  # a hub that starts looks back so many days for the volumes that choose a contract


class Past(NamedTuple):
    """The history of one root, as far as it was closed at some time.

    bars:   per timeframe, by time; without hub stamps and trade counts, which no file has
    rolls:  by time
    counts: volume and last price of every contract on the newest trade dates, by date and contract
    front:  the contract of the last bar
    """

    bars: dict[str, list[Bar]]
    rolls: list[Roll]
    counts: list[ContractCount]
    front: Contract


def past_of(
    directory: Path,
    root: str,
    until_ns: int,
    keep: dict[str, int],
    progress: Callable[[int], None] = lambda bars: None,
) -> Past | None:
    """Read and fold one root of a store; None where it has no minute of it in the six years before `until_ns`.

    keep:     how many of the newest bars of each timeframe are wanted; the others are only folded
    progress: called with the number of minutes done since it was called last
    Raises ConfigError for bars that name no contract.
    """
    files = sorted((directory / root).glob("1min-*.parquet"))
    since, until = _utc(until_ns - REACH_NS), _utc(until_ns)
    minutes = pl.scan_parquet(files) if files else None
    if minutes is None or minutes.filter(pl.col("ts_open").is_between(since, until)).head(1).collect().is_empty():
        return None
    history = History(directory / root, [root], since, until)
    group = group_of(root)
    coarse = Coarse(group)
    kept: dict[str, list[Bar]] = {timeframe: [] for timeframe in TIMEFRAMES}
    rolls: list[Roll] = []
    events = iter(history.events)
    event = next(events, None)
    front: Contract | None = None
    window: sessions.Window | None = None
    for number, ts_open, o, h, low, c, volume in _rows(history, progress):
        if not number:
            raise ConfigError(
                f"{directory}: {root} has bars that name no contract; an order needs one: import bars of contracts. "
                "Nothing was filled"
            )
        if ts_open + MINUTE_NS > until_ns:
            break
        while event is not None and event.ts <= ts_open + MINUTE_NS:
            new = contract_from_number(root, event.contract)
            if front is not None:
                rolls.append(Roll(root, front.raw, new.raw, event.old_last, event.new_last, event.ts, RULE))
            front, event = new, next(events, None)
        front = contract_from_number(root, number)
        if window is None or not window.open_ns <= ts_open < window.close_ns:
            window = sessions.window_at(group, ts_open)
        flags = BarFlag.NONE if window is not None else BarFlag.OFF_SESSION
        bar = Bar(root, front.raw, "1min", ts_open, ts_open + MINUTE_NS, o, h, low, c, int(volume), 0, int(flags))
        _keep(kept, coarse.close(ts_open, 0), keep)
        coarse.fold(bar)
        _keep(kept, [bar], keep)
    _keep(kept, coarse.close(until_ns, 0), keep)
    if front is None:
        return None
    newest = {timeframe: bars[-keep[timeframe] :] for timeframe, bars in kept.items()}
    return Past(newest, rolls, _contract_counts(minutes, root, until_ns), front)


def _rows(
    history: History, progress: Callable[[int], None]
) -> Iterator[tuple[int, int, float, float, float, float, float]]:
    """(contract number, ts_open, open, high, low, close, volume) by time; series without a contract have number 0."""
    for records in history.chunks():
        names = ("contract", "ts_open", "open", "high", "low", "close", "volume")
        columns = [records[name].tolist() for name in names]
        yield from zip(*columns, strict=True)
        progress(len(records))


def _keep(kept: dict[str, list[Bar]], bars: Iterable[Bar], keep: dict[str, int]) -> None:
    for bar in bars:
        found = kept[bar.timeframe]
        found.append(bar)
        if len(found) > 2 * keep[bar.timeframe] + 1_000:
            del found[: -keep[bar.timeframe]]


def _contract_counts(minutes: pl.LazyFrame, root: str, until_ns: int) -> list[ContractCount]:
    """Volume and last price of every contract on the newest trade dates before `until_ns`, from rows of 1min."""
    since = _utc(until_ns - (VOLUME_DAYS + 4) * 24 * sessions.HOUR_NS)
    recent = (
        minutes.filter(pl.col("ts_open") >= since, pl.col("ts_open") < _utc(until_ns), pl.col("contract") != "")
        .sort("ts_open")
        .select(pl.col("ts_open").dt.timestamp("ns"), "contract", "volume", "close")
        .collect()
    )
    found: dict[tuple[Contract, date], tuple[int, float]] = {}
    for ts, raw, volume, close in recent.iter_rows():
        day = sessions.trade_date(ts)
        contract = contract_of(raw, root, day)
        if contract is not None:
            before, _ = found.get((contract, day), (0, 0.0))
            found[contract, day] = before + volume, close
    days = sorted({day for _, day in found})[-VOLUME_DAYS:]
    counts = [ContractCount(c, day, volume, last) for (c, day), (volume, last) in found.items() if day in days]
    return sorted(counts, key=lambda count: (count.day, count.contract))


def _utc(ts_ns: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts_ns // 1_000)
