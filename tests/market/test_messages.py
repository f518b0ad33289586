"""Messages ↔ bytes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooney.errors import MessageError
from rooney.market.messages import (
    Bar,
    HubStatus,
    Minute,
    Roll,
    decode_bar,
    decode_minute,
    decode_roll,
    decode_status,
    encode,
)
from rooney.market.sessions import MINUTE_NS

integers = st.integers(-(2**63), 2**64 - 1)
texts = st.text(max_size=12)
prices = st.floats(-9e9, 9e9)
times = st.integers(1, 2**61)
counts = st.integers(0, 2**53 - 1)


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    """Bars that can be, of what may be sold below zero."""
    low, first, last, high = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
    ends = draw(times) // MINUTE_NS * MINUTE_NS + MINUTE_NS
    timeframe = draw(st.sampled_from(["1min", "hourly", "daily"]))
    volume, trades, flags, heard = draw(st.tuples(counts, counts, integers, integers))
    return Bar("CL", "CLZ5", timeframe, ends - MINUTE_NS, ends, first, high, low, last, volume, trades, flags, heard)


rolls = st.builds(Roll, st.just("ES"), st.just("ESZ5"), st.just("ESH6"), prices, prices, times, texts)
minutes = st.builds(
    Minute,
    times,
    st.lists(rolls, max_size=3),
    st.lists(bars(), max_size=4),
    st.dictionaries(texts, integers, max_size=4),
    integers,
    times,
    times,
)
statuses = st.builds(
    HubStatus,
    texts,
    integers,
    integers,
    integers,
    integers,
    integers,
    st.dictionaries(texts, integers, max_size=4),
    st.dictionaries(texts, texts, max_size=4),
    texts,
)
DECODERS = {Bar: decode_bar, Minute: decode_minute, Roll: decode_roll, HubStatus: decode_status}
messages = st.one_of(bars(), minutes, rolls, statuses)
Message = Bar | Minute | Roll | HubStatus

BAR = Bar("ES", "ESZ5", "1min", 60 * MINUTE_NS, 61 * MINUTE_NS, 1.0, 2.0, 0.5, 1.5, 10, 3)


@given(messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert DECODERS[type(message)](encode(message)) == message


@given(
    st.one_of(bars(), minutes, rolls), st.lists(st.one_of(integers, texts, st.lists(integers)), min_size=1, max_size=3)
)
def test_fields_that_a_newer_hub_appends_are_ignored(message: Message, more: list[object]) -> None:
    fields = msgspec.msgpack.decode(encode(message))
    assert DECODERS[type(message)](msgspec.msgpack.encode([*fields, *more])) == message


def test_keys_that_a_newer_hub_adds_to_its_status_are_ignored() -> None:
    status = HubStatus("live", 1, 2, 3, 4, 5, {"late": 1}, {"ES": "ESZ5"})
    fields = msgspec.msgpack.decode(encode(status)) | {"weather": "fine"}
    assert decode_status(msgspec.msgpack.encode(fields)) == status


def test_fields_that_an_older_hub_did_not_have_take_their_defaults() -> None:
    fields = msgspec.msgpack.decode(encode(BAR))
    assert decode_bar(msgspec.msgpack.encode(fields[:11])) == BAR


@given(messages, st.data())
def test_truncated_bytes_are_a_message_error(message: Message, data: st.DataObject) -> None:
    encoded = encode(message)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(MessageError):
        DECODERS[type(message)](encoded[:cut])


@given(st.sampled_from(list(DECODERS)), st.binary(max_size=200))
def test_garbage_is_a_message_error_and_nothing_else(kind: type, data: bytes) -> None:
    try:
        DECODERS[kind](data)
    except MessageError:
        return


@given(st.sampled_from([BAR, Minute(1, [], [BAR], {"ES": 1})]), st.data())
def test_a_flipped_byte_is_another_message_or_a_message_error(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(encode(message))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        DECODERS[type(message)](bytes(encoded))
    except MessageError:
        return


@pytest.mark.parametrize(
    "data", [b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff" + b"\xa1\xff" * 70_000, b""]
)
@pytest.mark.parametrize("decode", DECODERS.values(), ids=[kind.__name__ for kind in DECODERS])
def test_hostile_bytes_are_a_message_error(decode: object, data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)  # type: ignore[operator]


def test_nested_garbage_after_the_known_fields_is_a_message_error() -> None:
    fields = msgspec.msgpack.encode(list(msgspec.msgpack.decode(encode(BAR))))
    deep = bytes([fields[0] + 1]) + fields[1:] + b"\x91" * 100_000
    with pytest.raises(MessageError):
        decode_bar(deep)


def test_the_error_names_the_place() -> None:
    with pytest.raises(MessageError, match=r"Minute.*\$\[0\]"):
        decode_minute(msgspec.msgpack.encode(["now", [], [], {}]))
