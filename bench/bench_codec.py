"""A minute of 18 bars ↔ bytes, and bytes of Redis → Python.

Stands for: what each entry costs the hub once and every worker once. Ratios are to the standard library's json and
pickle for the same minute as plain tuples, and of hiredis to redis-py's own parser for the same reply.
Doubts: json and pickle are given tuples, which spares them the making of objects; both parsers read from a socket pair
in one process, so the kernel's copying is in both figures.
"""

import json
import pickle
import socket
import statistics
import time
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
from redis.connection import UnixDomainSocketConnection

from bench import data
from bench.measure import Row, median_of, report, rounds
from rooney.bus.client import uses_hiredis
from rooney.bus.keys import TAPE
from rooney.bus.publisher import Publisher
from rooney.market.messages import decode_minute, encode
from rooney.market.tape import Published

REPEATS = 2_000
ENTRIES = 100  # a reply that a socket's buffer holds whole
MIN_FASTER = 4.0


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


def test_codec(benchmark: Any) -> None:
    minute = data.minutes(1)[0]
    encoded = encode(minute)
    plain = msgspec.to_builtins(minute)
    as_json, as_pickle = json.dumps(plain), pickle.dumps(plain, pickle.HIGHEST_PROTOCOL)
    assert decode_minute(encoded) == minute
    assert msgspec.convert(json.loads(as_json), type(minute)) == minute
    assert msgspec.convert(pickle.loads(as_pickle), type(minute)) == minute
    calls: dict[str, Callable[[], Any]] = {
        "encode": lambda: encode(minute),
        "decode": lambda: decode_minute(encoded),
        "json": lambda: json.loads(json.dumps(plain)),
        "pickle": lambda: pickle.loads(pickle.dumps(plain, pickle.HIGHEST_PROTOCOL)),
    }

    def once() -> dict[str, float]:
        return {name: _seconds(call, REPEATS) for name, call in calls.items()}

    def ratio(name: str) -> Callable[[dict[str, float]], float]:
        return lambda found: found[name] / (found["encode"] + found["decode"])

    found = rounds(once, lambda found: median_of(found, ratio("json")) >= MIN_FASTER)
    benchmark.pedantic(once, rounds=1, iterations=1)
    us = {name: median_of(found, lambda one, name=name: one[name]) * 1e6 for name in calls}  # type: ignore[misc]
    to_json, to_pickle = median_of(found, ratio("json")), median_of(found, ratio("pickle"))
    report(
        benchmark,
        [
            Row(
                "minute of 18 bars, encode / decode",
                f"{us['encode']:.1f} / {us['decode']:.1f} µs, {len(encoded)} bytes",
            ),
            Row("… both, faster than json", f"{to_json:.1f} ×", f"≥ {MIN_FASTER:.0f} ×", to_json >= MIN_FASTER),
            Row("… both, faster than pickle", f"{to_pickle:.1f} ×", "≥ 1 ×", to_pickle >= 1.0),
        ],
    )


def _reply(path: str) -> bytes:
    """The bytes Redis answers to a worker that reads the tape."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.settimeout(5)
        client.sendall(f"XREAD COUNT {ENTRIES} STREAMS {TAPE} 0\r\nPING\r\n".encode())
        data = b""
        while not data.endswith(b"+PONG\r\n"):
            data += client.recv(1 << 20)
    return data.removesuffix(b"+PONG\r\n")


class _Replayed:
    """A connection that is sent one reply again and again, read by a parser of redis-py."""

    def __init__(self, path: str, parser_class: Any, reply: bytes) -> None:
        connection: Any = UnixDomainSocketConnection
        self._connection = connection(path=path, parser_class=parser_class, protocol=2)
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(reply))
            end.settimeout(5)
        self._connection._sock = ours
        self._connection._parser.on_connect(self._connection)
        self._theirs, self._reply = theirs, reply

    def read(self) -> Any:
        self._theirs.sendall(self._reply)
        return self._connection.read_response()

    def close(self) -> None:
        self._theirs.close()
        self._connection.disconnect()


def test_parser(benchmark: Any, redis_socket: str, bus: Publisher) -> None:
    from redis._parsers import _HiredisParser, _RESP2Parser

    for minute in data.minutes(ENTRIES):
        assert bus.publish(Published(minute, [], {}))
    reply = _reply(redis_socket)
    ends = {
        name: _Replayed(redis_socket, kind, reply)
        for name, kind in (("hiredis", _HiredisParser), ("python", _RESP2Parser))
    }
    assert ends["hiredis"].read() == ends["python"].read()
    assert len(bus.read_tape(0, ENTRIES)) == ENTRIES

    def once() -> dict[str, float]:
        return {name: _seconds(end.read, 20) for name, end in ends.items()}

    def faster(one: dict[str, float]) -> float:
        return one["python"] / one["hiredis"]

    found = rounds(once, lambda found: median_of(found, faster) > 1.0, least=5)
    benchmark.pedantic(ends["hiredis"].read, rounds=5, iterations=1)
    for end in ends.values():
        end.close()
    ratio = median_of(found, faster)
    ms = median_of(found, lambda one: one["hiredis"]) * 1e3
    report(
        benchmark,
        [
            Row("parser in use", "hiredis" if uses_hiredis() else "redis-py's own", "hiredis", uses_hiredis()),
            Row(f"XREAD of {ENTRIES} minutes ({len(reply) >> 10} KiB) parsed by hiredis", f"{ms:.2f} ms"),
            Row("… faster than redis-py's own parser", f"{ratio:.1f} ×", "> 1 ×", ratio > 1.0),
        ],
    )


def test_compression(benchmark: Any) -> None:
    """Whether the tape should be compressed: what it would save on Redis, and what each minute would cost.

    It is not: 15,000 entries are 25 MB plain, and half of that is not worth more time per minute than encoding and
    publishing take together, nor a second thing that can be wrong about an entry.
    """
    plain = [encode(minute) for minute in data.minutes(100)]
    squeezed = [zlib.compress(entry, 1) for entry in plain]
    assert [zlib.decompress(entry) for entry in squeezed] == plain
    encode_us = _each_us(encode, data.minutes(100))
    decode_us = _each_us(decode_minute, plain)
    in_us, out_us = _each_us(lambda entry: zlib.compress(entry, 1), plain), _each_us(zlib.decompress, squeezed)
    benchmark.pedantic(lambda: zlib.compress(plain[0], 1), rounds=10, iterations=10)
    size, small = sum(map(len, plain)) / len(plain), sum(map(len, squeezed)) / len(plain)
    report(
        benchmark,
        [
            Row("minute of 18 bars, plain", f"{size:,.0f} B, {encode_us:.0f} us in, {decode_us:.0f} us out"),
            Row("… and zlib level 1 on top", f"{small:,.0f} B, {in_us:.0f} us more in, {out_us:.0f} us more out"),
        ],
    )


def _each_us(call: Callable[[Any], Any], items: list[Any]) -> float:
    """Median over ten rounds of all items, microseconds for one."""
    return statistics.median(_seconds(lambda: [call(item) for item in items], 1) for _ in range(10)) / len(items) * 1e6
