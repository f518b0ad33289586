"""What live and historical records have in common: how a product is asked for, when a trade came, which contract."""

import re
from datetime import UTC, datetime
from typing import Any

from rooney.market.instruments import Contract, parse_contract

UNDEF_TIMESTAMP = 2**64 - 1
F_BAD_TS_RECV = 8  # a plain integer: this is asked of every trade
_CONTINUOUS = re.compile(r"^[A-Z0-9]{2,3}\.[cnvCNV]\.\d+$")


def stype_of(product_id: str) -> str:
    """How a product id must be asked for: parent (ES.FUT), continuous (ES.v.0) or raw_symbol (ESZ5)."""
    if product_id.endswith((".FUT", ".OPT")):
        return "parent"
    return "continuous" if _CONTINUOUS.match(product_id) else "raw_symbol"


def received_ns(trade: Any) -> int:
    """When Databento received a trade, UTC ns; the exchange's own time where that is not known."""
    ts_recv: int = trade.ts_recv
    if ts_recv == UNDEF_TIMESTAMP or trade.flags & F_BAD_TS_RECV:
        ts_recv = trade.ts_event
    return ts_recv


def contract_at(raw: str, ts_ns: int) -> Contract | None:
    """The outright that a raw symbol meant at `ts_ns`; None for spreads and anything else."""
    return parse_contract(raw, datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).date())
