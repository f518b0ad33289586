"""A client's connection: the handshake in text, its subscriptions, and the stream of records they lead to."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import ClassVar

from databento_dbn import DBNError, SType

from rooney.market.instruments import PRODUCTS
from rooney.market.sessions import trade_date
from rooney.sim.databento import wire
from rooney.sim.databento.sources import Instrument
from rooney.sim.databento.stream import Stream
from rooney.sim.databento.symbology import Grant, Subscriptions, resolve
from rooney.sim.databento.venue import SessionStats, Venue

LSG_VERSION = "0.7.3"
_KEY_TAIL = 5  # the last characters of the key, which the client sends in clear
_DEFAULT_HEARTBEAT_S = 30.0
_MIN_HEARTBEAT_S = 5.0


class Refused(Exception):
    """The client asked for something that ends the session; the text is what it is told."""


class Session:
    """Speaks with one client until either side closes. Raises nothing for what a client does."""

    stream_of: ClassVar[Callable[..., Stream]] = Stream

    def __init__(
        self,
        venue: Venue,
        key: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stats: SessionStats,
    ) -> None:
        self._venue = venue
        self._key = key
        self._reader = reader
        self._writer = writer
        self._stats = stats
        self._subscriptions = Subscriptions(venue.source.instruments)
        self._heartbeat_s = _DEFAULT_HEARTBEAT_S
        self._chunks: list[dict[str, str]] = []  # of a subscription whose last line has not come

    async def run(self) -> None:
        try:
            refusal = await self._authenticate()
            if refusal is not None:
                await self._line(f"success=0|error={refusal}")
                return
            await self._line(f"success=1|session_id={self._stats.number}")
            await self._serve(await self._requests_before_start())
        except (ConnectionError, EOFError):
            return
        except Refused as refused:
            self._error("invalid_subscription", str(refused))
            await self._writer.drain()
        finally:
            self._writer.close()

    async def _authenticate(self) -> str | None:
        """Greeting, challenge and answer; returns why the client is refused, if it is."""
        challenge = secrets.token_hex(16)
        await self._line(f"lsg_version={LSG_VERSION}")
        await self._line(f"cram={challenge}")
        fields = await self._fields()
        digest = hashlib.sha256(f"{challenge}|{self._key}".encode()).hexdigest()
        if not hmac.compare_digest(fields.get("auth", ""), f"{digest}-{self._key[-_KEY_TAIL:]}"):
            return "Authentication failed."
        if fields.get("dataset") != wire.DATASET:
            return f"Unknown dataset {fields.get('dataset')}: this gateway has {wire.DATASET}"
        if fields.get("ts_out", "0") != "0" or fields.get("compression", "none") != "none":
            return "This gateway sends neither ts_out nor compressed records"
        self._heartbeat_s = max(_MIN_HEARTBEAT_S, float(fields.get("heartbeat_interval_s", _DEFAULT_HEARTBEAT_S)))
        return None

    async def _requests_before_start(self) -> list[dict[str, str]]:
        requests = []
        while "start_session" not in (fields := await self._fields()):
            requests.append(fields)
        return requests

    async def _serve(self, requests: list[dict[str, str]]) -> None:
        if requests and all(fields.get("schema") == "definition" for fields in requests):
            await self._define(requests)
        else:
            await self._stream(requests)

    async def _stream(self, requests: list[dict[str, str]]) -> None:
        """Send records; take further subscriptions at any time; end when either side does."""
        clock, source = self._venue.clock, self._venue.source
        if clock.started:
            now_ns = clock.now()
        else:
            first = await asyncio.to_thread(next, source.batches(0))
            now_ns = clock.start(int(first["ts_event"][0]))
        self._write(wire.metadata(now_ns + clock.offset_ns))
        starts = [int(fields["start"]) - clock.offset_ns for fields in requests if "start" in fields]
        for fields in requests:
            await self._subscribe(fields, now_ns, started=False)
        stream = self.stream_of(
            self._venue,
            self._writer,
            self._subscriptions,
            self._stats,
            self._heartbeat_s,
            from_ns=max(0, min([now_ns, *starts])),
            replay=bool(starts),
        )
        tasks = [asyncio.create_task(stream.run()), asyncio.create_task(self._take_subscriptions())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _define(self, requests: list[dict[str, str]]) -> None:
        """A session of definitions alone: the week's, then silence. The market's clock does not start for it."""
        clock = self._venue.clock
        if clock.started:
            now_ns = clock.now()
        else:
            first = await asyncio.to_thread(next, self._venue.source.batches(0))
            now_ns = int(first["ts_event"][0])
        ts_ns = now_ns + clock.offset_ns
        self._write(wire.metadata(ts_ns))
        found: dict[int, Instrument] = {}
        for fields in requests:
            for symbol in fields.get("symbols", "").split(","):
                for grant in await asyncio.to_thread(self._resolve, fields.get("stype_in", ""), symbol, now_ns):
                    self._write(grant.mapping(ts_ns))
                    found[grant.instrument.instrument_id] = grant.instrument
        for one in found.values():
            product = PRODUCTS.get(one.root)
            default = (product.tick_size, product.point_value) if product is not None else (0.01, 1.0)
            facts = self._venue.facts.get(one.root, default)
            self._write(wire.definition(ts_ns, one.instrument_id, one.raw, one.root, one.outright, *facts))
        self._stats.definitions += len(found)
        self._write(wire.system(ts_ns, "replay_completed", "Finished definition replay"))
        await self._writer.drain()
        await self._reader.read()

    async def _take_subscriptions(self) -> None:
        while True:
            fields = await self._fields()
            await self._subscribe(fields, self._venue.clock.now(), started=True)

    async def _subscribe(self, fields: dict[str, str], now_ns: int, started: bool) -> None:
        """Take in a line of a subscription; with the last, all its symbols are resolved, mapped and acknowledged."""
        self._chunks.append(fields)
        if fields.get("is_last", "1") != "1":
            return
        symbols = [symbol for chunk in self._chunks for symbol in chunk.get("symbols", "").split(",") if symbol]
        self._chunks.clear()
        if fields.get("schema") != "trades":
            raise Refused(f"Invalid schema {fields.get('schema')}: this gateway has trades")
        if started and "start" in fields:
            raise Refused("Invalid start: a replay can only be asked for before the session starts")
        stype_in = fields.get("stype_in", "")
        try:
            SType.from_str(stype_in)
        except DBNError as error:
            raise Refused(f"Invalid stype_in {stype_in}") from error
        clock = self._venue.clock
        from_ns = int(fields["start"]) - clock.offset_ns if "start" in fields else now_ns
        grants: list[Grant] = []
        for symbol in symbols:
            found = await asyncio.to_thread(self._resolve, stype_in, symbol, now_ns)
            if not found:
                self._error("symbol_resolution_failed", f"Failed to resolve symbol {symbol}")
            grants += found
        self._subscriptions.add(grants, from_ns)
        for grant in grants:
            self._write(grant.mapping(now_ns + clock.offset_ns))
        self._stats.mappings += len(grants)
        text = f"Subscription request {fields.get('id', '')} for trades data succeeded"
        self._write(wire.system(now_ns + clock.offset_ns, "subscription_ack", text))
        self._stats.acks += 1
        await self._writer.drain()

    def _resolve(self, stype_in: str, symbol: str, now_ns: int) -> list[Grant]:
        source = self._venue.source
        found = resolve(stype_in, symbol, source.instruments, trade_date(now_ns), lambda: source.volumes(now_ns))
        return [Grant(stype_in, symbol, instrument) for instrument in found]

    async def _fields(self) -> dict[str, str]:
        """The next line of the client, `key=value|key=value`. EOFError if it closed."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        pairs = (token.partition("=") for token in line.decode().strip().split("|"))
        return {key: value for key, _, value in pairs}

    async def _line(self, text: str) -> None:
        self._writer.write(f"{text}\n".encode())
        await self._writer.drain()

    def _write(self, record: bytes) -> None:
        self._writer.write(record)
        self._stats.bytes += len(record)

    def _error(self, code: str, text: str) -> None:
        clock = self._venue.clock
        self._write(wire.error(clock.now() + clock.offset_ns, code, text))
        self._stats.errors += 1
