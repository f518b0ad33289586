"""Bars of a demo: the sessions before it, as Redis has them, and the file that `rooney backtest` reads.

Every contract is in that file, not only those the hub led: the roll rule counts them all. What was there before the
stream is in it too, and the file says up to when that is, so that a backtest begins where the workers began.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from research.data.prefill import past_of
from research.history.columns import WARM_UP_UNTIL
from research.history.sessions import trade_date_of
from rooney.bus.keys import HISTORY_LENGTH
from rooney.bus.prefill import fill
from rooney.bus.publisher import Publisher
from rooney.bus.reader import Reader
from rooney.market import sessions
from rooney.market.bars import PRICE_SCALE
from rooney.market.sessions import MINUTE_NS
from rooney.sim.databento.sources import Source, Until
from rooney.sim.demo_plan import Plan
from rooney.sim.market import Market

_COLUMNS = ("symbol", "timeframe", "ts_open", "open", "high", "low", "close", "volume", "contract")
_STAMP = pl.from_epoch("ts_open", "ns").dt.replace_time_zone("UTC")


def history(what: Plan, count: int, seed: int = 0) -> pl.DataFrame:
    """One-minute bars of every contract in the `count` sessions before the stream."""
    day, parts = sessions.trade_date(what.start_ns), []
    for _ in range(count):
        day = sessions.previous_trade_date(day)
        parts.append(_minutes(Market(seed, day)))
    return pl.concat(reversed(parts))


def load_history(bus: Publisher, what: Plan, before: pl.DataFrame) -> None:
    """Put it on Redis as `rooney data fill` does: bars of front contracts, rolls, and what the next roll counts."""
    with TemporaryDirectory(prefix="rooney-history-") as store:
        for root in what.roots:
            folder = Path(store, root)
            folder.mkdir()
            mine = before.filter(pl.col("symbol") == root).with_columns(_STAMP)
            mine.write_parquet(folder / "1min-demo.parquet")
            past = past_of(Path(store), root, what.start_ns, HISTORY_LENGTH)
            if past is not None:
                fill(bus, root, past.bars, past.rolls, past.counts, past.front)


def write_bars(path: Path, bus: Reader, what: Plan, before: pl.DataFrame | None) -> None:
    """The tape's bars, those of contracts the hub did not lead on a trade date, and those from before the stream."""
    rows = [bar for _, minute in bus.tape(0) for bar in minute.bars]
    day = pl.col("ts_open").map_batches(lambda ts: pl.Series(trade_date_of(ts.to_numpy()))).alias("day")
    tape = pl.DataFrame({column: [getattr(bar, column) for bar in rows] for column in (*_COLUMNS, "trades")})
    others = _minutes(Until(what.source, what.end_ns)).with_columns(day)
    others = others.join(tape.select("contract", day).unique(), on=["contract", "day"], how="anti").drop("day")
    bars = pl.concat([*([before] if before is not None else []), others, tape], how="diagonal")
    bars = bars.sort("ts_open", "symbol", "contract", maintain_order=True).with_columns(_STAMP)
    said = {WARM_UP_UNTIL: str(what.start_ns)} if before is not None else {}
    pq.write_table(bars.to_arrow().replace_schema_metadata(said), path)


def _minutes(source: Source) -> pl.DataFrame:
    """One-minute bars of every outright of a source, by time."""
    trades = np.concatenate(list(source.batches(0)))
    outrights = [(one.instrument_id, one.root, one.raw) for one in source.instruments if one.outright]
    names = pl.DataFrame(outrights, schema=["instrument_id", "symbol", "contract"], orient="row")
    price, minute = pl.col("price") / PRICE_SCALE, pl.col("ts_recv") // MINUTE_NS * MINUTE_NS
    return (
        pl.DataFrame({name: trades[name].astype(np.int64) for name in ("instrument_id", "ts_recv", "price", "size")})
        .join(names, on="instrument_id", maintain_order="left")
        .group_by("symbol", "contract", ts_open=minute, maintain_order=True)
        .agg(open=price.first(), high=price.max(), low=price.min(), close=price.last(), volume=pl.col("size").sum())
        .with_columns(timeframe=pl.lit("1min"))
        .select(_COLUMNS)
    )
