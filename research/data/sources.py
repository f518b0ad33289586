"""A file of bars → one frame (`frame.READ`): columns by their usual names, times in UTC, nothing judged yet.

No time is guessed: a stamp without a zone is refused unless the zone is given, and so is a number that could be
seconds as well as nanoseconds.
"""

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from research.data.frame import PRICES, READ
from research.history.columns import contract_of
from research.history.dbn import points, readable
from rooney.errors import ConfigError
from rooney.market.instruments import MONTH_CODES
from rooney.market.messages import TIMEFRAMES

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".dbn", ".dbn.zst")
_TIMES = ("ts_open", "ts_event", "timestamp", "datetime", "time", "date")
_ALIASES = {"vol": "volume", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "ticker": "symbol"}
# What vendors call the same spans of time.
_SPANS = {
    **dict.fromkeys(("1min", "1m", "minute", "60s"), "1min"),
    **dict.fromkeys(("hourly", "1h", "60min", "hour"), "hourly"),
    **dict.fromkeys(("daily", "1d", "day"), "daily"),
}
_SCHEMAS = {"ohlcv-1m": "1min", "ohlcv-1h": "hourly"}
_FIRST_NS = 10**17  # 1973: an integer below it counts something larger than nanoseconds
_ISO = (
    r"^\s*(?<d>\d{4}-\d{2}-\d{2})[T ](?<t>\d{2}:\d{2})(?<s>:\d{2})?(?<f>\.\d{1,9})?\s*(?<z>Z|UTC|[+-]\d{2}:?\d{2})?\s*$"
)
_OUTRIGHT = re.compile(rf"^([A-Z0-9]{{2,3}}?)([{MONTH_CODES}])(\d{{1,2}}|20\d{{2}})$")
_CONTINUOUS = re.compile(r"^([A-Z0-9]{2,3})[.](?:[cnv][.]\d+|FUT)$")


class Reading(msgspec.Struct, frozen=True):
    """What a person knows about files that do not say it themselves.

    zone:      of stamps without one
    timeframe: of files without such a column
    root, contract: of files that name no symbol
    """

    zone: str | None = None
    timeframe: str = "1min"
    root: str | None = None
    contract: str | None = None


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Every file of bars at some paths, folders searched through. Raises ConfigError where there is none."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files = [file for file in inside if file.is_file() and file.name.endswith(SUFFIXES)]
        if not files:
            raise ConfigError(f"{path}: no file there that ends in {', '.join(SUFFIXES)}")
        found += files
    return found


def read(file: Path, reading: Reading) -> pl.DataFrame:
    """A frame of `frame.READ`. Raises ConfigError, which says why nothing of the file can be taken."""
    try:
        if file.name.endswith((".dbn", ".dbn.zst")):
            return _dbn(file)
        # All text: a column of whole numbers says nothing about its next row.
        table = _parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema=False)
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{file}: cannot be read: {str(error).splitlines()[0]}; nothing of it was taken") from error
    return _table(file, table, reading)


def _parquet(file: Path) -> pl.DataFrame:
    """By pyarrow, its times in UTC: polars knows zones by their names, and an offset (+05:30) would end the process."""
    table = pq.read_table(file)
    zoned = [field for field in table.schema if pa.types.is_timestamp(field.type) and field.type.tz]
    for field in zoned:
        column = table[field.name].cast(pa.timestamp(field.type.unit, "UTC"))
        table = table.set_column(table.schema.get_field_index(field.name), field.name, column)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _table(file: Path, table: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    names = [_ALIASES.get(name, name) for name in (column.strip().lower() for column in table.columns)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"{file}: has the columns {', '.join(table.columns)}, of which two mean {' and two '.join(twice)}; "
            "nothing of it was taken"
        )
    table.columns = names
    have = set(table.columns)
    times = [name for name in _TIMES if name in have]
    missing = [name for name in (*PRICES, "volume") if name not in have]
    if not times or missing or not ({"root", "contract", "symbol"} & have or reading.root):
        needs = f"{' or '.join(_TIMES[:3])}, {', '.join(PRICES)}, volume, and root, contract or symbol"
        raise ConfigError(
            f"{file}: has the columns {', '.join(table.columns)}; needs {needs} (or --root); nothing of it was taken"
        )
    if {"date", "time"} <= have and times[0] == "time":
        table = table.with_columns(pl.concat_str("date", "time", separator=" ").alias("time"))
    ts_open = _stamps(file, table, times[0], reading.zone).alias("ts_open")
    root, contract = _symbols(table, reading, ts_open)
    span = pl.lit(reading.timeframe)
    if "timeframe" in have:
        unknown = set(table["timeframe"].unique().drop_nulls().to_list()) - set(_SPANS)
        if unknown:
            raise ConfigError(
                f"{file}: timeframe {', '.join(map(repr, sorted(unknown)))}; allowed are {', '.join(TIMEFRAMES)}; "
                "nothing of it was taken"
            )
        span = pl.col("timeframe").replace_strict(_SPANS, default=reading.timeframe)
    return table.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row"),
        ts_open,
        root,
        contract,
        span.alias("timeframe"),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in PRICES),
        pl.col("volume").cast(pl.Float64, strict=False),
    ).select([pl.col(name).cast(kind) for name, kind in READ.items()])


def _symbols(table: pl.DataFrame, reading: Reading, ts_open: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Root and contract of each row, as far as the columns tell. A `symbol` without month and year is a root."""
    have = set(table.columns)
    if "contract" in have:
        name = pl.col("contract").cast(pl.String).fill_null("")
    elif "symbol" in have:
        name = pl.col("symbol").cast(pl.String).fill_null("")
    else:
        name = pl.lit(reading.contract or "")
    if "root" in have:
        root = pl.col("root").cast(pl.String)
    else:
        root = pl.lit(reading.root, pl.String)
    rows = table.select(name.alias("name"), root.alias("root")).with_columns(ts_open.dt.date().alias("day"))
    if "root" not in have and not reading.root:
        roots = {name: _root(name) for name in rows["name"].unique()}
        rows = rows.with_columns(root=pl.col("name").replace_strict(roots, default=""))
    return rows["root"], contracts(rows)


def contracts(rows: pl.DataFrame) -> pl.Series:
    """The contract of each row, with four digits of the year, as its name was meant on the row's own date.

    rows: columns `name` (ESZ5, ESZ25, ESZ2025, 202512 of a root), `root` and `day`
    Empty for a root's own name or a continuous series; anything else stays as it is, and so does the name of a row
    without a date.
    """
    rows = rows.with_columns(pl.col("day").dt.truncate("1mo"))
    names = rows.unique()
    spelt = [_contract(name, root or "", day) for name, root, day in names.select("name", "root", "day").iter_rows()]
    names = names.with_columns(contract=pl.Series(spelt, dtype=pl.String))
    joined = rows.join(names, on=["name", "root", "day"], how="left", nulls_equal=True, maintain_order="left")
    return joined["contract"]


def _contract(name: str, root: str, day: date | None) -> str:
    if re.fullmatch(r"[A-Z0-9]{2,3}", name) or _CONTINUOUS.match(name):
        return ""
    contract = contract_of(name, root, day) if day is not None else None
    return contract.ticker if contract is not None else name


def _root(symbol: str) -> str:
    """The root of an outright, a continuous series, or a spread of outrights; of anything else its whole name."""
    match = _OUTRIGHT.match(symbol.split("-")[0]) or _CONTINUOUS.match(symbol)
    return match[1] if match is not None else symbol


def _stamps(file: Path, table: pl.DataFrame, name: str, zone: str | None) -> pl.Series:
    """The time column in UTC; null where a time does not exist, or exists twice, in its zone."""
    column = table[name]
    kind = column.dtype
    if kind.is_integer() or (kind == pl.String and column.drop_nulls().str.contains(r"^\d{9,}$").all()):
        numbers = column.cast(pl.Int64)
        least = numbers.drop_nulls().min()
        if isinstance(least, int) and least < _FIRST_NS:
            raise ConfigError(
                f"{file}: {name} counts {least}, which is no time in UTC nanoseconds; convert it first; "
                "nothing of it was taken"
            )
        return numbers.cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
    if kind == pl.String:
        return _iso(file, column, zone)
    if not isinstance(kind, pl.Datetime):
        raise ConfigError(f"{file}: {name} is {kind}; needs a time of day; nothing of it was taken")
    if kind.time_zone:
        return column.dt.cast_time_unit("ns").dt.convert_time_zone("UTC")
    return _in_zone(file, column.dt.cast_time_unit("ns"), name, zone)


def _iso(file: Path, column: pl.Series, zone: str | None) -> pl.Series:
    parts = column.str.extract_groups(_ISO).struct.unnest()
    wrong = (parts["d"].is_null() & column.is_not_null()).arg_true()
    if len(wrong):
        raise ConfigError(
            f"{file}: {column.name} in row {wrong[0] + 1} is {column[wrong[0]]}; needs ISO times such as "
            "2026-03-10T22:00:00Z; nothing of it was taken"
        )
    zones = parts["z"].replace({"Z": "+00:00", "UTC": "+00:00"}).str.replace(r"^([+-]\d\d)(\d\d)$", "$1:$2")
    text = parts["d"] + "T" + parts["t"] + parts["s"].fill_null(":00") + parts["f"].fill_null("")
    naive = zones.is_null() & column.is_not_null()
    if not naive.any():
        return (text + zones).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="ns", time_zone="UTC", strict=False)
    if not naive.all():
        raise ConfigError(f"{file}: some of {column.name} have a time zone and some have none; nothing of it was taken")
    local = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ns", strict=False)
    return _in_zone(file, local, column.name, zone)


def _in_zone(file: Path, local: pl.Series, name: str, zone: str | None) -> pl.Series:
    if zone is None:
        raise ConfigError(
            f"{file}: {name} has no time zone; say which one with --zone (UTC, America/Chicago …): no hour is "
            "guessed; nothing of it was taken"
        )
    return local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")


def check_zone(zone: str) -> str:
    """The zone itself. Raises ConfigError for one that the time-zone database does not have."""
    try:
        return ZoneInfo(zone).key
    except (OSError, ValueError) as error:
        raise ConfigError(f"--zone: {zone!r} is no time zone; examples: UTC, America/Chicago") from error


def _dbn(file: Path) -> pl.DataFrame:
    """Databento's own bars."""
    import databento
    from databento.common.symbology import InstrumentMap

    with readable(file):
        store = databento.DBNStore.from_file(file)
        schema = str(store.schema) if store.schema is not None else "mixed"
        if schema not in _SCHEMAS:
            what = "bars per UTC day, which cut a session in two" if schema == "ohlcv-1d" else "no bars"
            raise ConfigError(
                f"{file}: schema {schema}: {what}; taken are {', '.join(_SCHEMAS)}; nothing of it was taken"
            )
        records = store.to_ndarray()
        names = InstrumentMap()
        names.insert_metadata(store.metadata)
    # An id may mean another contract on another day.
    table = pl.DataFrame({"id": records["instrument_id"], "ts": records["ts_event"].astype(np.int64)}).with_columns(
        pl.col("ts").cast(pl.Datetime("ns")).dt.replace_time_zone("UTC"),
        day=pl.col("ts").cast(pl.Datetime("ns")).dt.date(),
    )
    pairs = table.select("id", "day").unique()
    symbols = [names.resolve(number, day) for number, day in pairs.iter_rows()]
    if None in symbols:
        number, day = pairs.row(symbols.index(None))
        raise ConfigError(
            f"{file}: nothing in it says which contract instrument {number} was on {day}; nothing of it was taken"
        )
    pairs = pairs.with_columns(pl.Series("symbol", symbols, pl.String))
    table = table.join(pairs, on=["id", "day"], how="left", maintain_order="left")
    root, contract = _symbols(table, Reading(), table["ts"])
    return table.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row"),
        pl.col("ts").alias("ts_open"),
        root,
        contract,
        pl.lit(_SCHEMAS[schema]).alias("timeframe"),
        *(pl.Series(name, points(records[name])) for name in PRICES),
        pl.Series("volume", records["volume"].astype(np.float64)),
    ).select([pl.col(name).cast(kind) for name, kind in READ.items()])
