"""Messages ↔ bytes: MessagePack by msgspec, typed decoders made once."""

from typing import TypeVar

import msgspec

from rooney.errors import MessageError
from rooney.market.messages import Bar, HubStatus, Minute, Roll

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_bar = msgspec.msgpack.Decoder(Bar)
_minute = msgspec.msgpack.Decoder(Minute)
_roll = msgspec.msgpack.Decoder(Roll)
_status = msgspec.msgpack.Decoder(HubStatus)


def encode(message: Bar | Minute | Roll | HubStatus) -> bytes:
    """The wire form of a message."""
    return _encoder.encode(message)


def _decode(decoder: msgspec.msgpack.Decoder[T], kind: type[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"{len(data)} bytes are no {kind.__name__}: {error}") from error


def decode_bar(data: bytes) -> Bar:
    """Raises MessageError."""
    return _decode(_bar, Bar, data)


def decode_minute(data: bytes) -> Minute:
    """Raises MessageError."""
    return _decode(_minute, Minute, data)


def decode_roll(data: bytes) -> Roll:
    """Raises MessageError."""
    return _decode(_roll, Roll, data)


def decode_status(data: bytes) -> HubStatus:
    """Raises MessageError."""
    return _decode(_status, HubStatus, data)
