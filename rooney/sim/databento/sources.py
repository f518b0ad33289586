"""Where the gateway's trades come from: recordings in Parquet or DBN. `rooney.sim.market` makes a synthetic one.

A source can be read again from any time and gives the same records each time: that is what makes replays identical.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from databento_dbn import (
    Compression,
    DBNDecoder,
    DBNError,
    InstrumentDefMsg,
    MBOMsg,
    MBP1Msg,
    MBP10Msg,
    Metadata,
    SymbolMappingMsg,
    TradeMsg,
)

from rooney.errors import ConfigError
from rooney.market.instruments import MONTH_CODES, parse_contract
from rooney.market.sessions import previous_trade_date, session_open_ns, trade_date
from rooney.sim.databento.wire import PRICE_SCALE, Trades, empty_trades

BATCH_RECORDS = 65_536
_READ_BYTES = 1 << 20
_ROOT = re.compile(rf"^([A-Z0-9]{{2,3}}?)[{MONTH_CODES}]\d{{1,2}}(?=$|-)")


class Instrument(msgspec.Struct, frozen=True):
    """An outright (`ESZ5`) or a calendar spread (`ESZ5-ESH6`) of a root."""

    instrument_id: int
    raw: str
    root: str

    @property
    def outright(self) -> bool:
        return parse_contract(self.raw, date(2000, 1, 1)) is not None


class Source(Protocol):
    """A market in the order of `ts_recv`."""

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Every instrument that may occur in `batches`."""

    def batches(self, from_ns: int) -> Iterator[Trades]:
        """The trades received at or after `from_ns` (UTC ns), in arrays of any length above zero."""

    def volumes(self, at_ns: int) -> Mapping[str, int]:
        """Contracts traded per raw symbol on the trade date before that of `at_ns`: the ranks of `ES.v.0`."""


def root_of(raw: str) -> str:
    """The root of an outright or spread; of anything else, its whole name."""
    match = _ROOT.match(raw)
    return match.group(1) if match else raw


class Recorded:
    """Trades held in memory, sent in the order they are given in."""

    def __init__(self, trades: Trades, instruments: Sequence[Instrument]) -> None:
        self.trades = trades
        self.instruments = instruments
        # A record cannot leave before the one in front of it: what counts is the latest time so far.
        self._due = np.maximum.accumulate(trades["ts_recv"])

    def batches(self, from_ns: int) -> Iterator[Trades]:
        first = int(np.searchsorted(self._due, np.uint64(max(from_ns, 0))))
        for start in range(first, len(self.trades), BATCH_RECORDS):
            yield self.trades[start : start + BATCH_RECORDS]

    def volumes(self, at_ns: int) -> Mapping[str, int]:
        """The recording's first day has no day before it: there its own volumes count."""
        today = trade_date(at_ns)
        bounds = [session_open_ns("fx", day) for day in (previous_trade_date(today), today)]
        start, end = np.searchsorted(self._due, np.array(bounds, np.uint64))
        trades = self.trades[start:end] if end > start else self.trades
        return {
            instrument.raw: int(trades["size"][trades["instrument_id"] == instrument.instrument_id].sum())
            for instrument in self.instruments
        }


class Until:
    """A market that ends early: nothing received at or after `end_ns`."""

    def __init__(self, source: Source, end_ns: int) -> None:
        self._source = source
        self._end_ns = np.uint64(end_ns)
        self.instruments = source.instruments
        self.volumes = source.volumes

    def batches(self, from_ns: int) -> Iterator[Trades]:
        for batch in self._source.batches(from_ns):
            wanted = batch[batch["ts_recv"] < self._end_ns]
            if len(wanted):
                yield wanted
            if len(wanted) < len(batch):
                return


def read(paths: Iterable[Path]) -> Recorded:
    """Files and folders of .parquet, .dbn and .dbn.zst as one recording, merged by `ts_recv`.

    Databento may use an instrument_id again for another contract. Here each raw symbol keeps one id: its own where
    that is free.
    """
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise ConfigError(f"no .parquet, .dbn or .dbn.zst file in {', '.join(map(str, paths))}")
    parts = [read_parquet(file) if file.suffix == ".parquet" else read_dbn(file) for file in files]
    if len(parts) == 1:
        return parts[0]
    merged: dict[str, Instrument] = {}
    taken: dict[int, str] = {}
    arrays = []
    for part in parts:
        old = np.array([instrument.instrument_id for instrument in part.instruments], np.uint32)
        new = old.copy()
        for i, instrument in enumerate(part.instruments):
            if instrument.raw not in merged:
                number = instrument.instrument_id
                if number in taken:
                    number = max(taken) + 1
                taken[number] = instrument.raw
                merged[instrument.raw] = msgspec.structs.replace(instrument, instrument_id=number)
            new[i] = merged[instrument.raw].instrument_id
        trades = part.trades.copy()
        order = np.argsort(old)
        trades["instrument_id"] = new[order][np.searchsorted(old[order], trades["instrument_id"])]
        arrays.append(trades)
    trades = np.concatenate(arrays)
    return Recorded(trades[np.argsort(trades["ts_recv"], kind="stable")], list(merged.values()))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.name.endswith((".parquet", ".dbn", ".dbn.zst")))


def read_parquet(path: Path) -> Recorded:
    """Trades in the order of the file: `ts_event`, `symbol` and `size`, and `price_e9` (1e-9) or `price`.

    Optional are `ts_recv` (default: ts_event), `instrument_id` (default: counted up per symbol), `root`, `side`,
    `flags` and `sequence` or `seq`.
    """
    import polars as pl

    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{path}: not a readable Parquet file: {error}") from error
    columns = set(table.columns)
    missing = {"ts_event", "symbol", "size"} - columns
    if missing or not columns & {"price", "price_e9"}:
        raise ConfigError(f"{path}: no trades: has the columns {', '.join(table.columns)}, needs {_NEEDED_COLUMNS}")
    if table.is_empty():
        raise ConfigError(f"{path}: no trades in it")
    trades = empty_trades(len(table))
    for field, names in _PARQUET_FIELDS.items():
        name = next((name for name in names if name in columns), None)
        if name is not None:
            trades[field] = table[name].to_physical().to_numpy()
    if "price_e9" in columns:
        trades["price"] = table["price_e9"].to_numpy()
    else:
        trades["price"] = np.rint(table["price"].to_numpy() * PRICE_SCALE)
    trades["side"] = table["side"].to_numpy().astype("S1") if "side" in columns else b"N"
    raws, first, inverse = np.unique(table["symbol"].to_numpy().astype(str), return_index=True, return_inverse=True)
    if "instrument_id" not in columns:
        trades["instrument_id"] = inverse + 1
    roots = table["root"].to_list() if "root" in columns else None
    instruments = [
        Instrument(int(trades["instrument_id"][row]), str(raw), roots[row] if roots else root_of(str(raw)))
        for raw, row in zip(raws, first, strict=True)
    ]
    return Recorded(trades, instruments)


_NEEDED_COLUMNS = "ts_event, symbol, size and price or price_e9"
_PARQUET_FIELDS = {
    "ts_event": ["ts_event"],
    "ts_recv": ["ts_recv", "ts_event"],
    "instrument_id": ["instrument_id"],
    "size": ["size"],
    "flags": ["flags"],
    "sequence": ["sequence", "seq"],
}


def read_dbn(path: Path) -> Recorded:
    """The trades of a DBN file of any schema that has them, in the order of the file.

    A file with several schemas has each trade once per schema; the first of trades, mbo, mbp-1 (also tbbo), mbp-10
    that has any is taken.
    """
    kinds = (TradeMsg, MBOMsg, MBP1Msg, MBP10Msg)
    rows: dict[type, list[tuple[Any, ...]]] = {kind: [] for kind in kinds}
    raws: dict[int, str] = {}
    for record in _decode(path):
        if isinstance(record, kinds):
            if record.action == "T":
                rows[type(record)].append(_row(record))
        elif isinstance(record, Metadata):
            raws |= _mapped(record)
        elif isinstance(record, SymbolMappingMsg):
            raws[record.instrument_id] = record.stype_out_symbol
        elif isinstance(record, InstrumentDefMsg):
            raws[record.instrument_id] = record.raw_symbol
    found = next((rows[kind] for kind in kinds if rows[kind]), None)
    if found is None:
        raise ConfigError(f"{path}: no trades in it")
    trades = empty_trades(len(found))
    for field, values in zip(_ROW_FIELDS, zip(*found, strict=True), strict=True):
        trades[field] = np.array(values, trades.dtype[field])
    ids = [int(number) for number in np.unique(trades["instrument_id"])]
    nameless = [number for number in ids if number not in raws]
    if nameless:
        raise ConfigError(f"{path}: trades of instrument_id {nameless} and nothing that says which contract that is")
    return Recorded(trades, [Instrument(number, raws[number], root_of(raws[number])) for number in ids])


_ROW_FIELDS = (
    "instrument_id",
    "ts_event",
    "price",
    "size",
    "side",
    "flags",
    "ts_recv",
    "ts_in_delta",
    "sequence",
)


def _row(record: TradeMsg | MBOMsg | MBP1Msg | MBP10Msg) -> tuple[Any, ...]:
    return (
        record.instrument_id,
        record.ts_event,
        record.price,
        record.size,
        str(record.side).encode(),
        int(record.flags),
        record.ts_recv,
        record.ts_in_delta,
        record.sequence,
    )


def _decode(path: Path) -> Iterator[Any]:
    """Every record of a DBN file, compressed or not, with its metadata first."""
    try:
        with path.open("rb") as file:
            compressed = file.read(4) == b"\x28\xb5\x2f\xfd"  # the magic number of Zstandard
            file.seek(0)
            decoder = DBNDecoder(compression=Compression.from_str("zstd" if compressed else "none"))
            while data := file.read(_READ_BYTES):
                yield from decoder.write_and_decode(data)
    except (OSError, DBNError) as error:
        raise ConfigError(f"{path}: not a readable DBN file: {error}") from error


def _mapped(metadata: Metadata) -> dict[int, str]:
    """instrument_id → raw symbol, as far as the file's header tells; continuous names tell nothing."""
    raws: dict[int, str] = {}
    for name, intervals in metadata.mappings.items():
        for interval in intervals:
            symbol = str(interval["symbol"])
            if symbol.isdecimal() and root_of(name) != name:
                raws[int(symbol)] = name
            elif name.isdecimal():
                raws[int(name)] = symbol
    return raws
