"""A local stand-in for Databento's live gateway: the unmodified `databento.Live` client connects to it.

    async with Gateway(Market(), key=KEY, speed=60) as gateway:
        client = databento.Live(key=KEY, gateway=gateway.host, port=gateway.port)

`python -m rooney.sim.databento.gateway --help` runs it as a process.
"""

import argparse
import asyncio
import math
import os
import signal
import sys
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from rooney.errors import EXIT_CONFIG, EXIT_OK, ConfigError
from rooney.files import write_whole
from rooney.sim.databento.market_clock import Clock
from rooney.sim.databento.session import Session
from rooney.sim.databento.sources import Source, Until, read
from rooney.sim.databento.venue import MinuteSent, SessionStats, Venue

DEMO_KEY = "db-rooney-local-gateway-nosecret"


class Gateway:
    """A server for one market.

    speed:       market seconds per wall second; math.inf = as fast as the clients read
    begin_ns:    market time at which the clock starts, with the first session; None = a second before the first
                 trade. What comes before it is only seen by sessions that ask for a replay
    until_ns:    the market lasts at least until then: heartbeats after the last trade
    rebase:      move the market to the present, by whole minutes; needs speed 1
    log_minutes: keep in `minutes` when each minute's end was written to the socket
    facts:       root → tick size and USD per point that its definitions tell; default: those of
    rooney.market.instruments
    """

    def __init__(
        self,
        source: Source,
        *,
        key: str = DEMO_KEY,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = math.inf,
        begin_ns: int | None = None,
        until_ns: int = 0,
        rebase: bool = False,
        log_minutes: bool = False,
        facts: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.sessions: list[SessionStats] = []
        self.minutes: list[MinuteSent] = []
        self.clock = Clock(speed, begin_ns, rebase)
        self._key = key
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._venue = Venue(
            source=source,
            clock=self.clock,
            until_ns=until_ns,
            minutes=self.minutes if log_minutes else None,
            facts=facts or {},
        )

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close_listener()
        # Not by cancelling: Python 3.11's StreamReaderProtocol logs a cancelled connection as an error.
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections)

    def stats(self) -> dict[str, Any]:
        """Counts per session and in all, ready for JSON."""
        sessions = [msgspec.structs.asdict(session) for session in self.sessions]
        counted = ("trades", "spreads", "heartbeats", "mappings", "acks", "errors", "replays")
        return {
            "total": {name: sum(session[name] for session in sessions) for name in counted},
            "sessions": sessions,
        }

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._connected, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            await self._session(reader, writer).run()
        finally:
            del self._connections[task]

    def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Session:
        stats = SessionStats(number=len(self.sessions))
        self.sessions.append(stats)
        return Session(self._venue, self._key, reader, writer, stats)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m rooney.sim.databento.gateway", description="A local stand-in for Databento's live gateway."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument(
        "--key",
        default=os.environ.get("DATABENTO_API_KEY") or DEMO_KEY,
        help="the key clients must have (default: $DATABENTO_API_KEY, else a fixed one)",
    )
    parser.add_argument("--ready-file", type=Path, help="write the port here once connections are accepted")
    parser.add_argument("--stats", type=Path, help="write counts here as JSON at the end")
    parser.add_argument(
        "--minute-log", type=Path, help="write here at the end, as JSON lines, when each minute was sent"
    )
    clock = parser.add_argument_group("clock")
    clock.add_argument("--speed", type=_speed, default=math.inf, help="market seconds per second, or max (default)")
    clock.add_argument("--begin", type=_time_ns, help="market time at the first session (ISO time with offset, or ns)")
    clock.add_argument("--end", type=_time_ns, default=0, help="leave out what was received from then on")
    clock.add_argument("--until", type=_time_ns, default=0, help="send heartbeats at least until then")
    clock.add_argument("--rebase", action="store_true", help="move the market to the present; needs --speed 1")
    market = parser.add_argument_group("market: recorded files, or a synthetic one")
    market.add_argument("--data", type=Path, nargs="+", help="files or folders of .parquet, .dbn, .dbn.zst")
    market.add_argument("--seed", type=int, default=0)
    market.add_argument("--date", type=date.fromisoformat, help="first trade date")
    market.add_argument("--sessions", type=int, default=1, help="consecutive trade dates")
    market.add_argument("--trades-per-minute", type=float, default=300.0, help="of all 18 roots together")
    market.add_argument("--roots", type=lambda text: text.split(","), help="ES,NQ,... (default: all 18)")
    market.add_argument(
        "--roll",
        type=_roll,
        action="append",
        default=[],
        metavar="ROOT=DATE",
        help="first trade date with most volume in the next contract",
    )
    return parser.parse_args(arguments)


def _speed(text: str) -> float:
    return math.inf if text == "max" else float(text)


def _time_ns(text: str) -> int:
    if text.isdecimal():
        return int(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text}: needs an offset from UTC, such as 2026-03-11T14:00Z")
    return int(moment.timestamp()) * 1_000_000_000


def _roll(text: str) -> tuple[str, date]:
    root, _, day = text.partition("=")
    return root, date.fromisoformat(day)


def _source(options: argparse.Namespace) -> Source:
    if options.data:
        return read(options.data)
    from rooney.sim.characters import CHARACTERS, FIRST_SESSION
    from rooney.sim.market import Market

    return Market(
        options.seed,
        options.date or FIRST_SESSION,
        options.sessions,
        options.trades_per_minute,
        options.roots or tuple(CHARACTERS),
        dict(options.roll),
    )


async def _serve(gateway: Gateway, ready_file: Path | None) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with gateway:
        if ready_file is not None:
            write_whole(ready_file, f"{gateway.port}\n")
        await stopping.wait()


def main(arguments: list[str] | None = None) -> int:
    options = _arguments(arguments)
    try:
        gateway = Gateway(
            Until(_source(options), options.end) if options.end else _source(options),
            key=options.key,
            host=options.host,
            port=options.port,
            speed=options.speed,
            begin_ns=options.begin,
            until_ns=options.until,
            rebase=options.rebase,
            log_minutes=options.minute_log is not None,
        )
    except (ConfigError, ValueError, OSError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return EXIT_CONFIG
    asyncio.run(_serve(gateway, options.ready_file))
    if options.stats is not None:
        write_whole(options.stats, msgspec.json.format(msgspec.json.encode(gateway.stats())) + b"\n")
    if options.minute_log is not None:
        write_whole(options.minute_log, msgspec.json.Encoder().encode_lines(gateway.minutes))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
