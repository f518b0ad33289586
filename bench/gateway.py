"""The local gateway in a process of its own, sending a stream of `bench.data`."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from rooney.sim.databento.sources import Instrument
from rooney.sim.databento.venue import MinuteSent
from rooney.sim.databento.wire import Trades
from rooney.sim.processes import Part, python

KEY = "db-" + "b" * 29


class Gateway:
    """port: where it listens; stop: ends it and returns when each minute's end was written, wall clock ns."""

    def __init__(self, part: Part, port: int, log: Path) -> None:
        self.part = part
        self.port = port
        self._log = log

    def stop(self) -> dict[int, int]:
        if self.part.stop() != 0:
            raise RuntimeError(f"the gateway ended with {self.part.process.returncode}:\n{self.part.tail()}")
        lines = self._log.read_text().splitlines()
        sent = [msgspec.json.decode(line, type=MinuteSent) for line in lines]
        return {minute.end_ns: minute.wall_ns for minute in sent}


def start(directory: Path, trades: Trades, instruments: list[Instrument], speed: str) -> Gateway:
    """Returns once it listens; its clock begins with the first session."""
    path, ready, log = directory / "stream.parquet", directory / "gateway.port", directory / "minutes.jsonl"
    _write(path, trades, instruments)
    argv = python("rooney.sim.databento.gateway", "--ready-file", str(ready), "--speed", speed, "--data", str(path))
    part = Part("gateway", argv + ["--minute-log", str(log)], directory, {"DATABENTO_API_KEY": KEY})
    part.wait("listening", ready.exists, 60.0)
    return Gateway(part, int(ready.read_text()), log)


@contextmanager
def running(trades: Trades, instruments: list[Instrument], speed: str) -> Iterator[Gateway]:
    """For as long as the block lasts."""
    directory = Path(tempfile.mkdtemp(prefix="rooney-"))
    gateway: Gateway | None = None
    try:
        gateway = start(directory, trades, instruments, speed)
        yield gateway
    finally:
        if gateway is not None:
            gateway.part.stop(timeout_s=5)
        shutil.rmtree(directory, ignore_errors=True)


def _write(path: Path, trades: Trades, instruments: list[Instrument]) -> None:
    """A recording as the gateway reads it."""
    first = instruments[0].instrument_id
    assert [item.instrument_id for item in instruments] == list(range(first, first + len(instruments)))
    at = trades["instrument_id"].astype("int64") - first
    fields = ("instrument_id", "ts_event", "ts_recv", "size", "sequence")
    columns: dict[str, Any] = {name: trades[name].copy() for name in fields}
    columns |= {
        "price_e9": trades["price"].copy(),
        "symbol": pl.Series([item.raw for item in instruments]).gather(at),
        "root": pl.Series([item.root for item in instruments]).gather(at),
    }
    pl.DataFrame(columns).write_parquet(path, compression="uncompressed")
