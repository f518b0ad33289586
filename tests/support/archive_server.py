"""A local stand-in for Databento's historical API: trades and ohlcv-1m for the unmodified `databento.Historical`.

    with serving(source, key=KEY, directory=path) as server:
        os.environ["REQUESTS_CA_BUNDLE"] = str(server.certificate)
        databento.Historical(KEY, gateway=server.url).timeseries.get_range(...)

The client speaks TLS only, so it gets a certificate made for the occasion.
"""

import base64
import contextlib
import json
import ssl
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

import msgspec
import numpy as np
import zstandard
from databento_dbn import Metadata, Schema, SType

from rooney.market.sessions import MINUTE_NS, trade_date
from rooney.sim.databento.gateway import DEMO_KEY
from rooney.sim.databento.sources import Instrument, Source
from rooney.sim.databento.symbology import resolve
from rooney.sim.databento.wire import DATASET, PUBLISHER_ID, Trades, empty_trades

# The 56 bytes of an OHLCVMsg.
OHLCV = np.dtype(
    [("length", "u1"), ("rtype", "u1"), ("publisher_id", "<u2"), ("instrument_id", "<u4"), ("ts_event", "<u8")]
    + [(name, "<i8") for name in ("open", "high", "low", "close")]
    + [("volume", "<u8")]
)
_SCHEMAS = ("trades", "ohlcv-1m")
_METADATA = {
    "/v0/metadata.get_record_count": "count",
    "/v0/metadata.get_billable_size": "size",
    "/v0/metadata.get_cost": "cost",
}


class Answer(msgspec.Struct, frozen=True):
    """The next request is answered as it should be."""


class Refuse(msgspec.Struct, frozen=True):
    """The next request is answered with this status."""

    status: int
    detail: str = "no"


class Cut(msgspec.Struct, frozen=True):
    """The next answer breaks off after this share of it. tell: whether its length was announced before."""

    share: float = 0.5
    tell: bool = False


class Nonsense(msgspec.Struct, frozen=True):
    """The next answer is no DBN."""


Misbehaviour = Answer | Refuse | Cut | Nonsense


class Request(msgspec.Struct, frozen=True):
    """What was asked for; times UTC ns."""

    start_ns: int
    end_ns: int
    symbols: str


class ArchiveServer(ThreadingHTTPServer):
    """requests: those answered with data; script: what goes wrong with the next ones, in turn.

    end:         of the data that can be had, ISO
    usd_per_gib: what metadata.get_cost asks
    """

    daemon_threads = True

    def __init__(self, source: Source, key: str, certificate: Path, script: Iterable[Misbehaviour]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.source = source
        self.key = key
        self.certificate = certificate
        self.script = deque(script)
        self.requests: list[Request] = []
        self.end = "2100-01-01T00:00:00.000000000Z"
        self.usd_per_gib = 280.0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: ArchiveServer

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a request's headers hold a key."""

    def do_GET(self) -> None:
        if not self._authenticated():
            self._refuse(401, "Authentication failed.")
        elif self.path.partition("?")[0] == "/v0/metadata.get_dataset_range":
            self._json(200, {"start": "2010-06-06T00:00:00.000000000Z", "end": self.server.end})
        else:
            self._refuse(422, f"{self.path}: not in this archive")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        data = self.path == "/v0/timeseries.get_range"
        misbehaviour = self.server.script.popleft() if data and self.server.script else None
        if not self._authenticated():
            self._refuse(401, "Authentication failed.")
        elif isinstance(misbehaviour, Refuse):
            self._refuse(misbehaviour.status, misbehaviour.detail)
        elif form.get("schema") not in _SCHEMAS or not (data or self.path in _METADATA):
            self._refuse(422, f"{self.path} {form.get('schema')}: not in this archive")
        elif data:
            self._answer(form, misbehaviour)
        else:
            self._tell(form)

    def _authenticated(self) -> bool:
        expected = "Basic " + base64.b64encode(f"{self.server.key}:".encode()).decode()
        return self.headers.get("authorization") == expected

    def _tell(self, form: dict[str, str]) -> None:
        """What a request would bring, and its price."""
        request = _request(form)
        _, records = _records(self.server.source, form["stype_in"], form["schema"], request)
        size = len(records.tobytes())
        told = {"count": len(records), "size": size, "cost": size / 2**30 * self.server.usd_per_gib}
        self._json(200, told[_METADATA[self.path]])

    def _refuse(self, status: int, detail: str) -> None:
        self._json(status, {"detail": detail})

    def _json(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, form: dict[str, str], misbehaviour: Answer | Cut | Nonsense | None) -> None:
        request = _request(form)
        data = zstandard.ZstdCompressor().compress(_dbn(self.server.source, form["stype_in"], form["schema"], request))
        self.server.requests.append(request)
        if isinstance(misbehaviour, Nonsense):
            data = bytes(range(256))
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        if not isinstance(misbehaviour, Cut) or misbehaviour.tell:
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: int(len(data) * misbehaviour.share)] if isinstance(misbehaviour, Cut) else data)


def _time_ns(text: str) -> int:
    """As the client writes it: an ISO time with up to nine decimals, or ns."""
    if text.isdecimal():
        return int(text)
    whole, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)


class _Interval(NamedTuple):
    start_date: date
    end_date: date
    symbol: str


class _Mapping(NamedTuple):
    """What databento_dbn takes as one entry of a header."""

    raw_symbol: str
    intervals: list[_Interval]


def _request(form: dict[str, str]) -> Request:
    return Request(_time_ns(form["start"]), _time_ns(form["end"]), form["symbols"])


def _records(source: Source, stype_in: str, schema: str, request: Request) -> tuple[dict[int, Instrument], Trades]:
    """Instruments by id, and the records of all of them, by time."""
    on = trade_date(request.start_ns)
    found: dict[int, Instrument] = {}
    for symbol in request.symbols.split(","):
        for one in resolve(stype_in, symbol, source.instruments, on, lambda: source.volumes(request.start_ns)):
            found[one.instrument_id] = one
    trades = _trades(source, list(found), request)
    return found, trades if schema == "trades" else minutes(trades)


def _dbn(source: Source, stype_in: str, schema: str, request: Request) -> bytes:
    """The answer before its compression: a header that names every contract by its raw symbol, then the records."""
    found, records = _records(source, stype_in, schema, request)
    day, last = (
        datetime.fromtimestamp(ns // 1_000_000_000, UTC).date() for ns in (request.start_ns, request.end_ns - 1)
    )
    header = Metadata(
        DATASET,
        request.start_ns,
        SType.from_str(stype_in),
        SType.from_str("instrument_id"),
        Schema.from_str(schema),
        request.symbols.split(","),
        mappings=[
            _Mapping(one.raw, [_Interval(day, last + timedelta(days=1), str(number))]) for number, one in found.items()
        ],
        end=request.end_ns,
        ts_out=False,
        version=3,
    )
    return bytes(header) + records.tobytes()


def minutes(trades: Trades) -> Trades:
    """One-minute bars as Databento makes them: by ts_recv, stamped at their start, none without a trade."""
    ids, ts = trades["instrument_id"].astype(np.int64), trades["ts_recv"].astype(np.int64) // MINUTE_NS
    order = np.lexsort((np.arange(len(trades)), ids, ts))
    first = np.flatnonzero(np.diff(ts[order], prepend=-1) | np.diff(ids[order], prepend=-1))
    last = np.append(first[1:], len(order))[: len(first)] - 1
    price = trades["price"][order]
    bars = np.zeros(len(first), OHLCV)
    bars["length"], bars["rtype"], bars["publisher_id"] = OHLCV.itemsize // 4, 33, PUBLISHER_ID
    bars["instrument_id"], bars["ts_event"] = ids[order][first], ts[order][first] * MINUTE_NS
    bars["open"], bars["close"] = price[first], price[last]
    if len(first):
        bars["high"], bars["low"] = np.maximum.reduceat(price, first), np.minimum.reduceat(price, first)
        bars["volume"] = np.add.reduceat(trades["size"][order].astype(np.uint64), first)
    return bars


def _trades(source: Source, ids: list[int], request: Request) -> Trades:
    parts = [empty_trades(0)]
    for batch in source.batches(request.start_ns):
        if int(batch["ts_recv"][0]) >= request.end_ns:
            break
        received = batch["ts_recv"]
        inside = (received >= np.uint64(request.start_ns)) & (received < np.uint64(request.end_ns))
        parts.append(batch[inside & np.isin(batch["instrument_id"], ids)])
    return np.concatenate(parts)


def make_certificate(directory: Path) -> Path:
    """Key and self-signed certificate of 127.0.0.1 in one file, by openssl."""
    path = directory / "archive.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    argv += ["-keyout", str(directory / "key.pem"), "-out", str(directory / "certificate.pem")]
    subprocess.run(argv, check=True, capture_output=True)
    path.write_bytes((directory / "key.pem").read_bytes() + (directory / "certificate.pem").read_bytes())
    return path


@contextlib.contextmanager
def serving(
    source: Source, directory: Path, *, key: str = DEMO_KEY, script: Iterable[Misbehaviour] = ()
) -> Iterator[ArchiveServer]:
    """The server in a thread; directory: for its certificate."""
    server = ArchiveServer(source, key, make_certificate(directory), script)
    thread = threading.Thread(target=server.serve_forever, name="sim-archive", kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
