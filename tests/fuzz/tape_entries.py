"""Entries of the tape and its histories: what a worker takes of them can be, whatever their bytes are."""

import random
from collections import Counter

import msgspec

from rooney.errors import MessageError
from rooney.market.messages import (
    Minute,
    bar_lack,
    decode_bar,
    decode_roll,
    decode_status,
    encode,
    roll_lack,
    sifted,
)
from rooney.market.tape import is_session_minute, read_entry
from tests.fuzz.hub_keys import STATUS
from tests.support.minutes import random_tape
from tests.support.mutations import Reader, sweep

TAPE = random_tape(3, 70, ["ES", "ZC"])
LATEST_NS = TAPE[-1].ts_close
_WRONG = [0, -1, 1, 2**31, 2**53, 2**62, 2**63 - 1, 2**64 - 1, -(2**63), 1e300, -1e300, float("nan"), float("inf")]


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by reader and verdict."""
    bars = [encode(bar) for minute in TAPE[50:61] for bar in minute.bars]
    rolls = [encode(roll) for minute in TAPE for roll in minute.rolls]
    minutes = [encode(minute) for minute in TAPE]
    readers = {
        "bar": Reader(valid=bars, read=decode_bar, errors=(MessageError,)),
        "roll": Reader(valid=rolls, read=decode_roll, errors=(MessageError,)),
        "status": Reader(valid=[encode(STATUS)], read=decode_status, errors=(MessageError,)),
        "entry": Reader(valid=minutes, read=_entry, errors=(MessageError, Refused)),
    }
    half = cases // 2
    return sweep(readers, half, seed) + _values(cases - half, seed)


def _entry(data: bytes) -> None:
    try:
        ts_close = msgspec.msgpack.decode(data)[0]
        ts_close = ts_close if isinstance(ts_close, int) else LATEST_NS
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, LookupError):
        ts_close = LATEST_NS
    _judge(read_entry(ts_close, data, LATEST_NS), ts_close)


def _judge(read: Minute, ts_close: int) -> None:
    """Assert that what is left can be. Raises Refused where something was left out."""
    minute, refused = sifted(read)
    assert minute.ts_close == ts_close <= LATEST_NS + 120_000_000_000
    assert is_session_minute(ts_close) or minute.bars
    for bar in minute.bars:
        assert not bar_lack(bar)
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.ts_open < bar.ts_close <= ts_close
    assert all(not roll_lack(roll) and roll.ts == ts_close for roll in minute.rolls)
    assert len({(bar.symbol, bar.timeframe, bar.ts_open) for bar in minute.bars}) == len(minute.bars)
    assert len(minute.bars) + len(minute.rolls) + len(refused) <= len(read.bars) + len(read.rolls)
    if refused:
        raise Refused(str(refused))


def _values(cases: int, seed: int) -> Counter[str]:
    """Minutes that decode, with one value of a bar or roll exchanged, or a bar or roll doubled."""
    tally: Counter[str] = Counter()
    rng = random.Random(f"{seed} values")
    for case in range(cases):
        minute = rng.choice(TAPE)
        fields = msgspec.to_builtins(minute)
        rows = rng.choice([rows for rows in (fields[1], fields[2], fields[2]) if rows] or [[[0]]])
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice([*_WRONG, "", "ES", "5min", "daily", "ESM6", "x" * 100, *row])
        rows += [row] if rng.random() < 0.1 else []
        try:
            _judge(read_entry(minute.ts_close, msgspec.msgpack.encode(fields), LATEST_NS), minute.ts_close)
            verdict = "a value"
        except (MessageError, Refused) as error:
            verdict = type(error).__name__
        except BaseException as error:
            raise AssertionError(f"values, seed {seed}, case {case}: {error!r} for {fields}") from error
        tally[f"values: {verdict}"] += 1
    return tally


class Refused(Exception):
    """A bar or roll of the minute was left out."""
