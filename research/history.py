"""Bars from files → what the scan reads: one front contract per root and trade date, rolls, minutes in order.

Parquet columns: `ts_open` (UTC; `ts_event` is an alias), `root`, `contract`, `timeframe` (absent = 1min), and `open`,
`high`, `low`, `close`, `volume`. A column `symbol` is the root if it equals a configured one, else the contract.
DBN files hold one-minute bars. Where a root has several contracts, the hub's own rule chooses (`rooney.rolls`).

Files are read twice, lazily: once for the volume of each contract and trade date, then a quarter of a year at a time.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from rooney import rolls, sessions
from rooney.errors import ConfigError
from rooney.instruments import MONTH_CODES, Contract, group_of, parse_contract
from rooney.kernels import dtypes

_EPOCH = date(1970, 1, 1)
_DAY_NS = 24 * sessions.HOUR_NS
_PRICES = ("open", "high", "low", "close", "volume")
_NOT_CHOSEN = -1


class RollEvent(msgspec.Struct, frozen=True):
    """`root` is traded in `contract` (yyyymm) from the minute that ends at `ts` on; last prices of both contracts."""

    ts: int
    root: str
    contract: int
    old_last: float
    new_last: float


class Windows(msgspec.Struct, frozen=True):
    """Session windows of one group over a span: arrays of equal length, by time."""

    open_ns: NDArray[np.int64]
    close_ns: NDArray[np.int64]
    trade_date: NDArray[np.int64]
    day_open_ns: NDArray[np.int64]
    day_close_ns: NDArray[np.int64]
    utc_offset: NDArray[np.int64]


def session_windows(group: str, start_ns: int, end_ns: int) -> Windows:
    """Every window that ends after `start_ns` and opens before `end_ns`."""
    rows = []
    window = sessions.window_at(group, start_ns) or sessions.next_window(group, start_ns)
    while window.open_ns < end_ns:
        day = window.trade_date
        rows.append(
            (
                window.open_ns,
                window.close_ns,
                (day - _EPOCH).days,
                sessions.session_open_ns(group, day),
                sessions.session_close_ns(group, day),
                sessions.utc_offset_ns(window.open_ns),
            )
        )
        window = sessions.next_window(group, window.close_ns)
    columns = np.array(rows, np.int64).reshape(-1, 6).T
    return Windows(*(np.ascontiguousarray(column) for column in columns))


class History:
    """One-minute bars of some roots, from files, chosen and ordered as the hub would have published them.

    path:   a Parquet or DBN file, or a folder of them
    roots:  in the order of the strategy's instruments
    start, end: [start, end), UTC; None = all there is
    events: the rolls, by time
    sparse: whether there are no minutes in it
    """

    sparse = False

    def __init__(
        self, path: Path, roots: Sequence[str], start: datetime | None = None, end: datetime | None = None
    ) -> None:
        self.path = path
        self.roots = list(roots)
        self.files = files_of(path)
        frames = [_parquet(file, roots) if file.suffix == ".parquet" else _dbn(file) for file in self.files]
        self._frame = pl.concat(frames).filter(pl.col("root").is_in(self.roots))
        if start is not None:
            self._frame = self._frame.filter(pl.col("ts_open") >= start)
        if end is not None:
            self._frame = self._frame.filter(pl.col("ts_open") < end)
        days = self._count_days()
        if days.is_empty():
            raise ConfigError(f"{path}: no one-minute bars of {', '.join(self.roots)} in the span asked for")
        self.start_ns = int(days["first"].min())  # type: ignore[arg-type]
        self.end_ns = int(days["last"].max()) + sessions.MINUTE_NS  # type: ignore[arg-type]
        self._raws = days["raw"].unique().sort().to_list()
        self._first_day = int(days["day"].min())  # type: ignore[arg-type]
        n_days = int(days["day"].max()) - self._first_day + 1  # type: ignore[arg-type]
        for ts in (self.start_ns, self.end_ns - 1):
            if not sessions.covered(ts):
                known = sessions.table()
                raise ConfigError(
                    f"{path}: bars of {sessions.trade_date(ts)}: the session table knows {known.first} to {known.last},"
                    " and a backtest beyond it would trade holidays; choose --start and --end within"
                )
        # Trade date of each hour of the span, as an index of the table below: trade dates change on whole hours.
        self._first_hour = self.start_ns // sessions.HOUR_NS
        hours = range(self._first_hour, self.end_ns // sessions.HOUR_NS + 1)
        self._day_of_hour = np.array([_trade_day(hour) - self._first_day for hour in hours], np.int64)
        # Contract number per (root, raw symbol, trade date) where that is the front one.
        self._numbers = np.full((len(self.roots) * len(self._raws), n_days), _NOT_CHOSEN, np.int32)
        self.events: list[RollEvent] = []
        self.bars = 0
        for (root,), rows in days.group_by("root", maintain_order=True):
            self._choose(str(root), rows)
        self.events.sort(key=lambda event: (event.ts, self.roots.index(event.root)))

    def digest(self) -> str:
        """sha256 over the bytes of all files, by name: which data a result came from."""
        found = hashlib.sha256()
        for file in self.files:
            found.update(file.name.encode())
            with file.open("rb") as data:
                while block := data.read(1 << 20):
                    found.update(block)
        return found.hexdigest()

    def windows(self) -> dict[str, Windows]:
        """Session windows per group over the whole span, and a week beyond."""
        groups = sorted({group_of(root) for root in self.roots})
        return {group: session_windows(group, self.start_ns, self.end_ns + 7 * _DAY_NS) for group in groups}

    def chunks(self) -> Iterator[NDArray[np.void]]:
        """HISTORY records by time and then instrument, a quarter of a year at a time."""
        columns = [
            pl.col("root").cast(pl.Enum(self.roots)).to_physical().alias("instrument"),
            pl.col("raw").cast(pl.Enum(self._raws)).to_physical(),
            pl.col("ts_open").dt.timestamp("ns"),
            *(pl.col(name) for name in _PRICES),
        ]
        for begin, end in _quarters(self.start_ns, self.end_ns):
            part = self._frame.filter(pl.col("ts_open") >= begin, pl.col("ts_open") < end).select(columns).collect()
            records = self._records({name: part[name].to_numpy() for name in part.columns})
            if len(records):
                yield records

    def _count_days(self) -> pl.DataFrame:
        """Volume, last close, first and last minute and number of bars per root, raw symbol and trade date."""
        ts = pl.col("ts_open").dt.timestamp("ns")
        # A trade date begins at 22:00 or 23:00 UTC: what lies between these hours is counted on its own at first.
        since_22 = ts + 2 * sessions.HOUR_NS
        part = since_22 // _DAY_NS * 24 + (since_22 % _DAY_NS >= sessions.HOUR_NS).cast(pl.Int64) - 2
        keyed = self._frame.with_columns(pl.col("root", "raw").cast(pl.Categorical), part.alias("hour"), ts)
        parts = (
            keyed.group_by("root", "raw", "hour")
            .agg(
                pl.col("volume").sum(),
                pl.col("close").get(pl.col("ts_open").arg_max()).alias("last_close"),
                pl.col("ts_open").min().alias("first"),
                pl.col("ts_open").max().alias("last"),
                pl.len().alias("bars"),
            )
            .collect(engine="streaming")
            .with_columns(pl.col("root", "raw").cast(pl.String))
        )
        hours = parts["hour"].unique().to_list()
        day = pl.col("hour").replace_strict(hours, [_trade_day(hour) for hour in hours], return_dtype=pl.Int64)
        return (
            parts.sort("hour")
            .group_by("root", "raw", day.alias("day"), maintain_order=True)
            .agg(
                pl.col("volume", "bars").sum(),
                pl.col("last_close", "last").last(),
                pl.col("first").first(),
            )
            .sort("root", "day", "raw")
        )

    def _choose(self, root: str, rows: pl.DataFrame) -> None:
        """The front contract of a root on each trade date, by the hub's rule, and the rolls between them."""
        current: Contract | None = None
        before: dict[Contract, int] = {}
        last: dict[Contract, float] = {}
        for number, traded_rows in (
            (int(str(key[0])), part) for key, part in rows.group_by("day", maintain_order=True)
        ):
            day = _EPOCH + timedelta(days=number)
            at = number - self._first_day
            traded: dict[Contract, tuple[str, int, float, int]] = {}
            for raw, volume, close, bars in traded_rows.select("raw", "volume", "last_close", "bars").iter_rows():
                contract = parse_contract(raw, day) or Contract(root, 0, 0)  # a series without contracts
                traded[contract] = (raw, int(volume), close, bars)
            front = next(iter(traded)) if len(traded) == 1 and current in (None, *traded) else None
            if front is None:
                front, _ = rolls.front(day, current, before, traded)
            if front is not None and current is not None and front != current:
                if front in last:
                    opens = sessions.session_open_ns(group_of(root), day)
                    ts = opens + sessions.MINUTE_NS
                    self.events.append(RollEvent(ts, root, front.number, last[current], last[front]))
                else:
                    front = current  # it has no price yet: roll when it has one
            current = front
            if front is not None and front in traded:
                raw, _, _, bars = traded[front]
                row = self.roots.index(root) * len(self._raws) + self._raws.index(raw)
                self._numbers[row, at] = front.number
                self.bars += bars
            before = {contract: values[1] for contract, values in traded.items()}
            last |= {contract: values[2] for contract, values in traded.items()}

    def _records(self, columns: dict[str, NDArray[np.generic]]) -> NDArray[np.void]:
        instrument = columns["instrument"].astype(np.int64)
        ts = columns["ts_open"].astype(np.int64)
        day = self._day_of_hour[ts // sessions.HOUR_NS - self._first_hour]
        number = self._numbers[instrument * len(self._raws) + columns["raw"].astype(np.int64), day]
        key = ts + instrument  # nanoseconds are free: no bar opens between minutes
        wanted = number != _NOT_CHOSEN
        order = None if wanted.all() and (key[1:] > key[:-1]).all() else np.flatnonzero(wanted)
        if order is not None:
            order = order[np.argsort(key[order], kind="stable")]
            instrument, ts, number = instrument[order], ts[order], number[order]
        records = np.zeros(len(ts), dtypes.HISTORY)
        records["instrument"], records["ts_open"], records["contract"] = instrument, ts, number
        records["ts_close"] = ts // sessions.MINUTE_NS * sessions.MINUTE_NS + sessions.MINUTE_NS
        for name in _PRICES:
            records[name] = columns[name] if order is None else columns[name][order]
        return records


def _trade_day(hour: int) -> int:
    """Trade date of an hour (hours since 1970, UTC), in days since 1970."""
    return (sessions.trade_date(hour * sessions.HOUR_NS) - _EPOCH).days


def files_of(path: Path) -> list[Path]:
    """The Parquet and DBN files at a path. Raises ConfigError if there is none."""
    # A store of `rooney data` keeps in raw/ what its bars were made from: each bar is to be read once.
    found = sorted(file for file in path.rglob("*") if path / "raw" not in file.parents) if path.is_dir() else [path]
    files = [file for file in found if file.is_file() and file.name.endswith((".parquet", ".dbn", ".dbn.zst"))]
    if not files:
        raise ConfigError(f"{path}: no Parquet or DBN file there")
    return files


def _parquet(file: Path, roots: Sequence[str]) -> pl.LazyFrame:
    """root, ts_open, raw contract symbol ("" for none) and prices of one-minute bars."""
    frame = pl.scan_parquet(file)
    schema = frame.collect_schema()
    time = next((name for name in ("ts_open", "ts_event") if name in schema), None)
    missing = [name for name in _PRICES if name not in schema]
    if time is None or missing or not {"root", "symbol"} & set(schema):
        needed, have = ", ".join(("ts_open", "root or symbol", *_PRICES)), ", ".join(schema)
        raise ConfigError(f"{file}: no bars: it needs the columns {needed} and has {have}")
    kind = schema[time]
    if not (isinstance(kind, pl.Datetime) and kind.time_zone) and kind != pl.Int64:
        raise ConfigError(
            f"{file}: {time} is {kind}: it needs UTC ns or a time with a zone, so that no hour is guessed"
        )
    stamp = pl.col(time).cast(pl.Datetime("ns", "UTC")) if kind == pl.Int64 else pl.col(time).dt.cast_time_unit("ns")
    if "timeframe" in schema:
        frame = frame.filter(pl.col("timeframe") == "1min")
    root = pl.col("root") if "root" in schema else pl.col("symbol")
    raw = pl.lit("")
    if "contract" in schema:
        raw = pl.col("contract")
    elif "symbol" in schema:
        is_root = pl.col("symbol").is_in(list(roots))
        raw = pl.when(is_root).then(pl.lit("")).otherwise(pl.col("symbol"))
        if "root" not in schema:
            root = pl.when(is_root).then(pl.col("symbol")).otherwise(_root_of(pl.col("symbol")))
    return frame.select(
        root.cast(pl.String).alias("root"),
        stamp.dt.convert_time_zone("UTC").alias("ts_open"),
        raw.cast(pl.String).fill_null("").alias("raw"),
        *(pl.col(name).cast(pl.Float64) for name in _PRICES),
    )


def _root_of(raw: pl.Expr) -> pl.Expr:
    return raw.str.extract(rf"^([A-Z0-9]{{2,3}}?)[{MONTH_CODES}]\d{{1,2}}$")


def _dbn(file: Path) -> pl.LazyFrame:
    """As _parquet, of a DBN file of one-minute bars; spreads are left out."""
    import databento

    store = databento.DBNStore.from_file(file)
    if store.schema is None or str(store.schema) != "ohlcv-1m":
        raise ConfigError(f"{file}: schema {store.schema}: a backtest reads ohlcv-1m")
    frame = pl.from_pandas(store.to_df().reset_index()).lazy()
    return frame.select(
        _root_of(pl.col("symbol")).alias("root"),
        pl.col("ts_event").cast(pl.Datetime("ns", "UTC")).alias("ts_open"),
        pl.col("symbol").alias("raw"),
        *(pl.col(name).cast(pl.Float64) for name in _PRICES),
    ).filter(pl.col("root").is_not_null())


def _quarters(start_ns: int, end_ns: int) -> Iterator[tuple[datetime, datetime]]:
    """Quarters of the year that cover the span; the scan carries on from one to the next in mid-session."""
    first = datetime.fromtimestamp(start_ns // 1_000_000_000, UTC)
    begin = datetime(first.year, (first.month - 1) // 3 * 3 + 1, 1, tzinfo=UTC)
    while begin.timestamp() * 1e9 < end_ns:
        end = datetime(begin.year + begin.month // 10, (begin.month + 2) % 12 + 1, 1, tzinfo=UTC)
        yield begin, end
        begin = end
