"""Damaged DBN records through the real client: the gateway sends them amid a market, and the feed has to live on."""

import contextlib
import logging
import random
import time
import warnings
from collections import Counter
from collections.abc import Iterator

import databento_dbn as dbn
from databento.common.error import BentoWarning

from rooney.hub.receiver import Heard, Panic, panics_told
from rooney.market import sessions
from rooney.market.bars import ClosedMinute, MinuteBuilder
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import MinuteAssembler
from rooney.sim.characters import FIRST_SESSION
from rooney.sim.databento import wire
from rooney.sim.databento.sources import Until
from rooney.sim.market import Market
from tests.support import gateway_faults as faults
from tests.support.faulty_gateway import FaultyGateway as Gateway
from tests.support.gateways import running
from tests.support.hub import new_feed
from tests.support.waiting import until

OPEN = sessions.session_open_ns("equity", FIRST_SESSION)
SPEED = 60
BATCH = 2_000
FRAMING_SHARE = 1 / 2_000  # of damaged lengths and types: most end their session, and the rest of what was read is lost
# In the order of `valid`. The client itself reads the text of errors and messages: one that is none ends its session.
WEIGHTS = (1, 1 / 200, 1, 1 / 1_000, 1 / 1_000, 1)
FATAL = (1, 2)  # error codes by which a gateway refuses the account: those are to end the feed


def valid() -> list[bytes]:
    """A record of each kind that a session of trades or definitions has."""
    trade = wire.empty_trades(1)
    trade["instrument_id"], trade["price"], trade["size"] = faults.UNKNOWN_ID, 6_800 * wire.PRICE_SCALE, 1
    trade["ts_event"] = trade["ts_recv"] = OPEN
    return [
        trade.tobytes(),
        wire.heartbeat(OPEN),
        wire.mapping(OPEN, faults.UNKNOWN_ID, "parent", "ES.FUT", "ESM6-ESU6"),
        wire.error(OPEN, "internal_error", "Internal error."),
        wire.system(OPEN, "slow_reader_warning", "You read too slowly."),
        wire.definition(OPEN, faults.UNKNOWN_ID, "ESM6", "ES", True, 0.25, 50.0),
    ]


def damaged(rng: random.Random, records: list[bytes]) -> bytes:
    """One record with one to four bytes or ranges changed; rarely its length, type or end."""
    (chosen,) = rng.choices(records, WEIGHTS)
    record = bytearray(chosen)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(4, len(record))
        end = min(len(record), at + rng.choice((1, 1, 2, 8, 80)))
        record[at:end] = rng.choice((rng.randbytes(end - at), bytes(end - at), b"\xff" * (end - at)))
    if record[1] == 0x16 and rng.random() > FRAMING_SHARE:  # two names of one instrument end the session as they should
        record[4:8] = rng.randbytes(4)
    if rng.random() < FRAMING_SHARE:
        match rng.randrange(3):
            case 0:
                record[0] = rng.randrange(256)
            case 1:
                record[1] = rng.choice((0x13, 0x12, 0x17, 0x14, 0x15, 0x16, rng.randrange(256)))
            case _:
                del record[rng.randrange(len(record)) :]
    if record[1:2] == b"\x15" and len(record) == 320 and record[318] in FATAL:
        record[318] = 6
    return bytes(record)


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by what became of the records: taken by the feed, or fatal to their session, and what the feed counted."""
    rng = random.Random(seed)
    records = valid()
    failures: list[object] = []
    assembler = MinuteAssembler([("ES", "equity", False)])
    gateway = Gateway(
        Until(Market(roots=["ES"], trades_per_minute=60), OPEN + 23 * 60 * MINUTE_NS), speed=SPEED, begin_ns=OPEN
    )

    def emit(closed: ClosedMinute) -> None:
        assembler.assemble(closed, time.time_ns)

    def tell(news: object) -> None:
        failures.extend([news] if isinstance(news, Exception) else [])

    # The local clock is the market's, as in life: else a damaged stamp of any day since would be the present.
    builder = MinuteBuilder(["equity"], OPEN, 50_000_000, emit, gateway.clock.now)
    with running(gateway), _quiet_client():
        feed = new_feed(builder, ["ES.FUT"], tell, gateway.port, pauses_s=(0.01,))
        feed.start()

        def taken() -> int:
            return feed.records + builder.counts["broken_sessions"]

        try:
            while taken() < cases:
                batch = [damaged(rng, records) for _ in range(BATCH)]
                _define(batch, failures)
                before, broken = taken(), builder.counts["broken_sessions"]
                gateway.strike(faults.Raw(data=b"".join(batch)))
                with contextlib.suppress(AssertionError):  # a length that is too long swallows what follows
                    until(lambda: taken() >= before + BATCH or builder.counts["broken_sessions"] > broken, 2.0)  # noqa: B023
                assert not failures and feed.is_alive() and feed.turning(), f"seed {seed}: {failures}"
            minute_ns = builder.minute_ns
            until(lambda: builder.minute_ns > minute_ns and feed.alive(), 30, lambda: (seed, builder.counts))
        finally:
            feed.stop()
            feed.join(10)
    assert not failures, f"seed {seed}: {failures}"
    return Counter({"taken": feed.records, "broke their session": builder.counts["broken_sessions"]})


@contextlib.contextmanager
def _quiet_client() -> Iterator[None]:
    """Without what the client says of each record."""
    logger = logging.getLogger("databento")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BentoWarning)
        try:
            yield
        finally:
            logger.setLevel(level)


def _define(batch: list[bytes], failures: list[object]) -> None:
    """Definitions among them as the session before that of trades reads them."""
    heard = Heard()
    decoder = dbn.DBNDecoder(upgrade_policy=dbn.VersionUpgradePolicy.UPGRADE_TO_V3)
    decoder.write_and_decode(wire.metadata(OPEN))
    for data in batch:
        if len(data) > 4 and len(data) == 4 * data[0] and data[1] == 0x13:
            with contextlib.suppress(Panic), panics_told():
                for record in decoder.write_and_decode(data):
                    heard.on_record(record)
    try:
        with panics_told():
            list(heard.outrights(OPEN, lambda record, field: _text(record, field)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        failures.append(error)


def _text(record: object, field: str) -> str:
    try:
        return str(getattr(record, field))
    except dbn.DBNError:
        return ""
