"""The tape, kept for longer than Redis keeps it: what its history streams hold, as Parquet that `backtest` reads.

Each time only what is new is written, to a file of its own; hours and days only the first time, for warming up before
the first minute. Files of bars know no rolls: each is written as one bar of the new contract, at the price the hub
rolled at and with more volume than any, in the last minute of the old contract, so that it is chosen as the hub did.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rooney.bus.reader import Reader
from rooney.errors import ConfigError
from rooney.files import replacing
from rooney.market import sessions
from rooney.market.messages import Bar
from rooney.market.sessions import MINUTE_NS

_MORE_THAN_ANY = 1 << 40
_COLUMNS = ("symbol", "contract", "timeframe", "ts_open", "open", "high", "low", "close", "volume")


def record(bus: Reader, symbols: Sequence[str], directory: Path) -> int:
    """Write what Redis holds of these instruments and `directory` does not; how many bars. Raises ConfigError."""
    import polars as pl

    try:
        directory.mkdir(parents=True, exist_ok=True)
        kept = sorted(directory.glob("*.parquet"))
        last: dict[str, int] = {}
        if kept:
            minutes = pl.scan_parquet(kept).filter(pl.col("timeframe") == "1min")
            newest = minutes.group_by("symbol").agg(pl.col("ts_open").max().dt.timestamp("ns")).collect()
            last = dict(newest.iter_rows())
        rows: list[tuple[Any, ...]] = []
        for symbol in symbols:
            bars = _bars(bus, symbol, last.get(symbol))
            rows += [tuple(getattr(bar, name) for name in _COLUMNS) for bar in bars]
        if not rows:
            return 0
        frame = pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS), orient="row", infer_schema_length=None)
        target = directory / f"{max(row[3] for row in rows) // 1_000_000_000}.parquet"
        with replacing(target) as unfinished:
            frame.with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC"))).write_parquet(unfinished)
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror or error}; the tape was not kept") from None
    return len(rows)


def _bars(bus: Reader, symbol: str, after_ns: int | None) -> list[Bar]:
    """By time. after_ns: the open of the last minute that is kept already, None for none."""
    minutes = bus.history_since(symbol, "1min", 0 if after_ns is None else after_ns + MINUTE_NS)
    coarse: list[Bar] = []
    if after_ns is None:
        coarse = bus.history_since(symbol, "hourly", 0) + bus.history_since(symbol, "daily", 0)
        # Streams are trimmed anywhere: a trade date of which the first minutes are gone is known by its hours.
        if minutes and any(bar.ts_close <= minutes[0].ts_open and _day(bar) == _day(minutes[0]) for bar in coarse):
            minutes = [bar for bar in minutes if _day(bar) != _day(minutes[0])]
    rolled = bus.rolls(symbol)
    known = {bar.ts_open: bar for bar in minutes}
    for roll in rolled:
        before = [ts for ts, bar in known.items() if ts < roll.ts - MINUTE_NS and bar.contract == roll.old_contract]
        if before:
            ts, price = max(before), roll.new_last
            coarse.append(
                Bar(
                    symbol, roll.new_contract, "1min", ts, ts + MINUTE_NS, price, price, price, price, _MORE_THAN_ANY, 1
                )
            )
    return sorted((*coarse, *minutes), key=lambda bar: bar.ts_open)


def _day(bar: Bar) -> Any:
    return sessions.trade_date(bar.ts_open)
