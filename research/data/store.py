"""Bars in a folder: ROOT/TIMEFRAME-YEAR.parquet, columns of `frame.STORED`; what was bought lies in raw/ as it came.

One writer at a time. A file is replaced as a whole, so a reader sees all of it or none, and a crash loses one import
at most, which may simply be run again: what is there already is left alone.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import polars as pl

from research.data.frame import KEY, PRICES, STORED
from research.data.sources import contracts
from research.history.columns import CHECKED
from rooney.errors import ConfigError
from rooney.files import replacing

RAW = "raw"
_PARTITION = re.compile(r"(1min|hourly|daily)-(\d{4})\.parquet")


class Part(msgspec.Struct, frozen=True, order=True):
    """One file of the store."""

    root: str
    timeframe: str
    year: int

    @property
    def name(self) -> str:
        """Its path inside the store."""
        return f"{self.root}/{self.timeframe}-{self.year}.parquet"


class Added(msgspec.Struct, frozen=True):
    """What one import brought. known: bars that were there already, equal in all."""

    new: int = 0
    known: int = 0
    replaced: int = 0
    conflicts: "list[tuple[str, str]]" = []  # key of the bar, both bars' values

    def __add__(self, other: "Added") -> "Added":
        return Added(
            self.new + other.new,
            self.known + other.known,
            self.replaced + other.replaced,
            self.conflicts + other.conflicts,
        )


class Store:
    """The folder. Nothing is created before something is written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def raw(self) -> Path:
        """Where downloads are kept."""
        return self.directory / RAW

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out. Raises ConfigError if there is one."""
        self.directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT, 0o640)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"{self.directory}: another import or download writes there; not starting") from None
            yield
        finally:
            os.close(handle)

    def parts(self) -> list[Part]:
        """Every file of bars, by root, timeframe and year."""
        found = []
        for path in self.directory.glob("*/*.parquet"):
            match = _PARTITION.fullmatch(path.name)
            if match is not None and path.parent.name != RAW:
                found.append(Part(path.parent.name, match[1], int(match[2])))
        return sorted(found)

    def read(self, part: Part) -> pl.DataFrame:
        """One file. Raises ConfigError if it is none of ours."""
        path = self.directory / part.name
        try:
            bars = pl.read_parquet(path).select([pl.col(name).cast(kind) for name, kind in STORED.items()])
        except (OSError, pl.exceptions.PolarsError) as error:
            why = str(error).splitlines()[0]
            raise ConfigError(f"{path}: no file of this store: {why}; import it again from its source") from error
        # Earlier versions kept one digit of the year.
        rows = bars.select(pl.col("contract").alias("name"), "root", day=pl.col("ts_open").dt.date())
        return bars.with_columns(contract=contracts(rows))

    def add(self, bars: pl.DataFrame, *, replace: bool = False, write: bool = True) -> Added:
        """Merge checked bars into their files.

        replace: a bar that differs from the stored one takes its place; else the stored one stays
        write:   False only tells what would happen
        """
        total = Added()
        years = bars.with_columns(pl.col("ts_open").dt.year().alias("year"))
        for (root, timeframe, year), rows in years.group_by("root", "timeframe", "year", maintain_order=True):
            part = Part(str(root), str(timeframe), int(str(year)))
            total += self._merge(part, rows.select(list(STORED)), replace, write)
        return total

    def _merge(self, part: Part, new: pl.DataFrame, replace: bool, write: bool) -> Added:
        if not (self.directory / part.name).exists():
            if write:
                self._write(part, new)
            return Added(new=len(new))
        old = self.read(part)
        values = (*PRICES, "volume")
        both = new.join(old, on=list(KEY), how="inner", suffix="_old")
        equal = pl.all_horizontal([pl.col(name) == pl.col(f"{name}_old") for name in values])
        differing = both.filter(~equal)
        fresh = new.join(old, on=list(KEY), how="anti")
        if replace:
            old = old.join(differing, on=list(KEY), how="anti")
            fresh = pl.concat([fresh, differing.select(list(STORED))])
        if write and len(fresh):
            self._write(part, pl.concat([old, fresh]))
        conflicts = [] if replace else [_conflict(row) for row in differing.iter_rows(named=True)]
        replaced = len(differing) if replace else 0
        return Added(len(fresh) - replaced, len(both) - len(differing), replaced, conflicts)

    def _write(self, part: Part, bars: pl.DataFrame) -> None:
        path = self.directory / part.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, synced=True) as unfinished:
            bars.sort("ts_open", "contract").write_parquet(
                unfinished, compression="zstd", metadata={CHECKED.decode(): "1"}
            )


def _conflict(row: dict[str, object]) -> tuple[str, str]:
    ts = row["ts_open"]
    new, old = (" ".join(f"{row[name + suffix]:.10g}" for name in (*PRICES, "volume")) for suffix in ("", "_old"))
    return f"{row['contract'] or row['root']} {ts:%Y-%m-%dT%H:%M}Z", f"{new}, stored is {old}"


def misplaced(part: Part, bars: pl.DataFrame) -> pl.DataFrame:
    """Rows that do not belong into this file."""
    return bars.filter(
        (pl.col("root") != part.root)
        | (pl.col("timeframe") != part.timeframe)
        | (pl.col("ts_open").dt.year() != part.year)
    )
