"""DBN version 3 as it goes over the wire: trades as numpy records, control records as bytes.

Times are UTC nanoseconds, prices int64 in units of 1e-9.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from databento_dbn import (
    ErrorCode,
    ErrorMsg,
    InstrumentClass,
    InstrumentDefMsg,
    Metadata,
    SecurityUpdateAction,
    SType,
    SymbolMappingMsg,
    SystemCode,
    SystemMsg,
)

DATASET = "GLBX.MDP3"
PUBLISHER_ID = 1  # GLBX.MDP3.GLBX
PRICE_SCALE = 1_000_000_000
UNDEF_TIMESTAMP = 2**64 - 1

# The 48 bytes of a TradeMsg, field by field: an array of these is sent as it lies in memory.
TRADE = np.dtype(
    [
        ("length", "u1"),
        ("rtype", "u1"),
        ("publisher_id", "<u2"),
        ("instrument_id", "<u4"),
        ("ts_event", "<u8"),
        ("price", "<i8"),
        ("size", "<u4"),
        ("action", "S1"),
        ("side", "S1"),
        ("flags", "u1"),
        ("depth", "u1"),
        ("ts_recv", "<u8"),
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
Trades: TypeAlias = npt.NDArray[np.void]


def empty_trades(count: int) -> Trades:
    """`count` trades whose constant fields are filled in; all others are zero."""
    trades = np.zeros(count, TRADE)
    trades["length"] = TRADE.itemsize // 4
    trades["publisher_id"] = PUBLISHER_ID
    trades["action"] = b"T"
    return trades


# The enums' members are typed as plain str and int in databento_dbn's stubs: made by name here, they are what they are.
_INSTRUMENT_ID = SType.from_str("instrument_id")
_HEARTBEAT = bytes(SystemMsg(0, "Heartbeat", SystemCode.from_str("heartbeat")))


def heartbeat(ts_event: int) -> bytes:
    """A gateway heartbeat; its only content is its time."""
    return _HEARTBEAT[:8] + ts_event.to_bytes(8, "little") + _HEARTBEAT[16:]


def metadata(start_ns: int) -> bytes:
    """The header of a live session: no schema, no symbols, no mappings."""
    return bytes(
        Metadata(DATASET, start_ns, stype_in=None, stype_out=_INSTRUMENT_ID, schema=None, ts_out=False, version=3)
    )


def mapping(ts_event: int, instrument_id: int, stype_in: str, requested: str, raw: str) -> bytes:
    """`requested` (`ES.FUT`, `ES.v.0`, `ESZ5`) includes the instrument with this id, which is called `raw`."""
    return bytes(
        SymbolMappingMsg(
            publisher_id=0,
            instrument_id=instrument_id,
            ts_event=ts_event,
            stype_in=SType.from_str(stype_in),
            stype_in_symbol=requested,
            stype_out=_INSTRUMENT_ID,
            stype_out_symbol=raw,
            start_ts=UNDEF_TIMESTAMP,
            end_ts=UNDEF_TIMESTAMP,
        )
    )


def system(ts_event: int, code: str, text: str) -> bytes:
    """`code`: `subscription_ack`, `replay_completed` ... as in databento_dbn.SystemCode."""
    return bytes(SystemMsg(ts_event, text, SystemCode.from_str(code)))


def error(ts_event: int, code: str, text: str) -> bytes:
    """`code`: `auth_failed`, `internal_error` ... as in databento_dbn.ErrorCode."""
    return bytes(ErrorMsg(ts_event, text, True, ErrorCode.from_str(code)))


def definition(
    ts_event: int, instrument_id: int, raw: str, root: str, outright: bool, tick_size: float, point_value: float
) -> bytes:
    """Definition of an instrument, as recorded ones of ES and NQ have it; of a spread, hardly anything."""
    display_factor = 10_000_000  # 0.01: the exchange counts index points and dollars in hundredths
    facts = {
        "min_price_increment_amount": round(tick_size * point_value * display_factor),
        "unit_of_measure_qty": round(point_value * PRICE_SCALE),
    }
    return bytes(
        InstrumentDefMsg(
            PUBLISHER_ID,
            instrument_id,
            ts_event,
            ts_event,
            round(tick_size * PRICE_SCALE),
            display_factor,
            raw,
            root,
            "FUT",
            InstrumentClass.from_str("F" if outright else "S"),
            SecurityUpdateAction.from_str("A"),
            **(facts if outright else {}),
        )
    )
