"""DBN files out of records, as Databento's archive gives them."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from databento_dbn import Metadata, Schema, SType


def write_dbn(path: Path, schema: str, records: Any, names: dict[int, tuple[str, date, date]], start_ns: int) -> Path:
    """names: what a number means, from a day to another, left out."""
    mappings = [
        SimpleNamespace(
            raw_symbol=raw,
            intervals=[SimpleNamespace(start_date=first, end_date=past, symbol=str(number))],
        )
        for number, (raw, first, past) in names.items()
    ]
    header = Metadata(
        "GLBX.MDP3",
        start_ns,
        SType.from_str("parent"),
        SType.from_str("instrument_id"),
        Schema.from_str(schema),
        ["ES.FUT"],
        mappings=mappings,
        ts_out=False,
        version=3,
    )
    path.write_bytes(bytes(header) + records.tobytes())
    return path
