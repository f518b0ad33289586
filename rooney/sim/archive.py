"""A local stand-in for the trades of Databento's historical API: the unmodified `databento.Historical` downloads.

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

from rooney.sessions import trade_date
from rooney.sim.gateway import DEMO_KEY
from rooney.sim.sources import Instrument, Source
from rooney.sim.symbology import resolve
from rooney.sim.wire import DATASET, Trades, empty_trades


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


Misbehaviour = Refuse | Cut | Nonsense


class Request(msgspec.Struct, frozen=True):
    """What was asked for; times UTC ns."""

    start_ns: int
    end_ns: int
    symbols: str


class ArchiveServer(ThreadingHTTPServer):
    """requests: those answered with trades; script: what goes wrong with the next ones, in turn."""

    daemon_threads = True

    def __init__(self, source: Source, key: str, certificate: Path, script: Iterable[Misbehaviour]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.source = source
        self.key = key
        self.certificate = certificate
        self.script = deque(script)
        self.requests: list[Request] = []
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

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        misbehaviour = self.server.script.popleft() if self.server.script else None
        expected = "Basic " + base64.b64encode(f"{self.server.key}:".encode()).decode()
        if self.headers.get("authorization") != expected:
            self._refuse(401, "Authentication failed.")
        elif isinstance(misbehaviour, Refuse):
            self._refuse(misbehaviour.status, misbehaviour.detail)
        elif self.path != "/v0/timeseries.get_range" or form.get("schema") != "trades":
            self._refuse(422, f"{self.path} {form.get('schema')}: this archive has timeseries.get_range of trades")
        else:
            self._answer(form, misbehaviour)

    def _refuse(self, status: int, detail: str) -> None:
        data = json.dumps({"detail": detail}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, form: dict[str, str], misbehaviour: Cut | Nonsense | None) -> None:
        request = Request(_time_ns(form["start"]), _time_ns(form["end"]), form["symbols"])
        data = zstandard.ZstdCompressor().compress(_dbn(self.server.source, form["stype_in"], request))
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


def _dbn(source: Source, stype_in: str, request: Request) -> bytes:
    """The answer before its compression: a header that names every contract by its raw symbol, then the trades."""
    on = trade_date(request.start_ns)
    symbols = request.symbols.split(",")
    found: dict[int, Instrument] = {}
    for symbol in symbols:
        for one in resolve(stype_in, symbol, source.instruments, on, lambda: source.volumes(request.start_ns)):
            found[one.instrument_id] = one
    day = datetime.fromtimestamp(request.start_ns // 1_000_000_000, UTC).date()
    header = Metadata(
        DATASET,
        request.start_ns,
        SType.from_str(stype_in),
        SType.from_str("instrument_id"),
        Schema.from_str("trades"),
        symbols,
        mappings=[
            _Mapping(one.raw, [_Interval(day, day + timedelta(days=1), str(number))]) for number, one in found.items()
        ],
        end=request.end_ns,
        ts_out=False,
        version=3,
    )
    return bytes(header) + _trades(source, list(found), request).tobytes()


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
