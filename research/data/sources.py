"""A file of bars → one frame (`frame.READ`): columns by their usual names, times in UTC, nothing judged yet.

No time is guessed: a stamp without a zone is refused unless the zone is given, and so is a number that could be
seconds as well as nanoseconds.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from research.data.frame import PRICES, READ
from research.history.columns import FIRST_NS, check_numbers
from research.history.dbn import frames
from research.history.findings import Findings
from research.history.series_names import SPACED_ROWS, TIMEFRAMES, contract_of, named, spacing
from rooney.errors import ConfigError
from rooney.market import timeframes

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".dbn", ".dbn.zst")
_TIMES = ("ts_open", "ts_event", "timestamp", "datetime", "time", "date")
_ALIASES = {"vol": "volume", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "ticker": "symbol"}
_ISO = (
    r"^\s*(?<d>\d{4}-\d{2}-\d{2})[T ](?<t>\d{2}:\d{2})(?<s>:\d{2})?(?<f>\.\d{1,9})?\s*(?<z>Z|UTC|[+-]\d{2}:?\d{2})?\s*$"
)


class Reading(msgspec.Struct, frozen=True):
    """What a person knows about files that do not say it themselves.

    zone:      of stamps without one
    timeframe: of files without such a column; None: as far apart as their bars are
    root, contract: of files that name no symbol
    """

    zone: str | None = None
    timeframe: str | None = None
    root: str | None = None
    contract: str | None = None


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Every file of bars at some paths, folders searched through. Raises ConfigError where there is none."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files = [file for file in inside if file.is_file() and file.name.lower().endswith(SUFFIXES)]
        if not files:
            raise ConfigError(f"{path}: no file there that ends in {', '.join(SUFFIXES)}")
        found += files
    return found


def read(file: Path, reading: Reading, told: Findings | None = None) -> pl.DataFrame:
    """A frame of `frame.READ`. Raises ConfigError, which says why nothing of the file can be taken.

    told: gets what a file of trades has that makes no bar
    """
    told, name = told or Findings(str(file)), file.name.lower()
    try:
        if name.endswith((".dbn", ".dbn.zst")):
            parts = list(frames(file, told, but="ohlcv-1d"))
            return _table(file, pl.concat(parts), Reading()) if parts else pl.DataFrame(schema=READ)
        # All text: a column of whole numbers says nothing about its next row.
        table = _parquet(file) if name.endswith(".parquet") else pl.read_csv(file, infer_schema=False)
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{file}: cannot be read: {str(error).splitlines()[0]}; nothing of it was taken") from error
    told.add("empty", table.is_empty())
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
    check_numbers(file, table.head(0).to_arrow().schema)
    if {"date", "time"} <= have and times[0] == "time":
        table = table.with_columns(pl.concat_str("date", "time", separator=" ").alias("time"))
    ts_open = _stamps(file, table, times[0], reading.zone).alias("ts_open")
    root, contract = _symbols(table, reading, ts_open)
    said = next((name for name in ("timeframe", "rtype") if name in have), None)
    if said is None:
        rows = pl.DataFrame({"name": root + contract, "ts": ts_open.dt.timestamp("ns")}).head(SPACED_ROWS)
        span = pl.lit(reading.timeframe or spacing(file, rows))
    else:
        unknown = set(table[said].cast(pl.String).unique().drop_nulls()) - set(TIMEFRAMES)
        if unknown:
            raise ConfigError(
                f"{file}: {said} {', '.join(map(repr, sorted(unknown)))}; allowed are {', '.join(TIMEFRAMES)}; "
                "nothing of it was taken"
            )
        plain = {name: timeframes.TIMEFRAMES[number] for name, number in TIMEFRAMES.items()}
        span = pl.col(said).cast(pl.String).replace_strict(plain, default=reading.timeframe or "1min")
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
    name, root = pl.lit(reading.contract or ""), pl.lit(reading.root or "")
    for column in ("symbol", "contract"):
        name = pl.col(column).cast(pl.String).fill_null("") if column in table.columns else name
    if "root" in table.columns:
        root = pl.col("root").cast(pl.String).fill_null("")
    rows = table.select(name.alias("name"), root.alias("root"))
    rows = rows.with_columns(ts_open.dt.date().alias("day"), pl.struct("name", "root").alias("pair"))
    pairs = rows["pair"].unique()
    meant = pl.DataFrame([named(*pair.values())[:2] for pair in pairs], ["root", "name"], orient="row")
    rows = rows.drop("name", "root").join(meant.with_columns(pairs), on="pair", how="left", maintain_order="left")
    return rows["root"], contracts(rows)


def contracts(rows: pl.DataFrame) -> pl.Series:
    """The contract of each row, with four digits of the year, as its name was meant on the row's own date.

    rows: columns `name` (ESZ5, ESZ25, ESZ2025, 202512 of a root), `root` and `day`
    Empty stays empty; what is no contract stays as it is, and so does the name of a row without a date.
    """
    rows = rows.with_columns(pl.col("day").dt.truncate("1mo"))
    names = rows.unique()
    spelt = [_contract(name, root or "", day) for name, root, day in names.select("name", "root", "day").iter_rows()]
    names = names.with_columns(contract=pl.Series(spelt, dtype=pl.String))
    joined = rows.join(names, on=["name", "root", "day"], how="left", nulls_equal=True, maintain_order="left")
    return joined["contract"]


def _contract(name: str, root: str, day: date | None) -> str:
    contract = contract_of(name, root, day) if day is not None else None
    return contract.ticker if contract is not None else name


def _stamps(file: Path, table: pl.DataFrame, name: str, zone: str | None) -> pl.Series:
    """The time column in UTC; null where a time does not exist, or exists twice, in its zone."""
    column = table[name]
    kind = column.dtype
    if kind.is_integer() or (kind == pl.String and column.drop_nulls().str.contains(r"^\d{9,}$").all()):
        numbers = column.cast(pl.Int64, strict=False)
        least = numbers.drop_nulls().min()
        if isinstance(least, int) and least < FIRST_NS:
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
        return _in_ns(column).dt.convert_time_zone("UTC")
    return _in_zone(file, _in_ns(column), name, zone)


def _in_ns(column: pl.Series) -> pl.Series:
    """Times in ns; null for those that ns do not reach, and long before: the others are judged."""
    year = pl.col(column.name).dt.year()
    return (
        column.to_frame()
        .select(pl.when(year.is_between(1700, 2200)).then(column.name).dt.cast_time_unit("ns"))
        .to_series()
    )


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
        form = "%Y-%m-%dT%H:%M:%S%.f%:z"
        return _in_ns((text + zones).str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False))
    if not naive.all():
        raise ConfigError(f"{file}: some of {column.name} have a time zone and some have none; nothing of it was taken")
    local = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return _in_zone(file, _in_ns(local), column.name, zone)


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
