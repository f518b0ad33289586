"""Common to live and historical records: how products are asked for, when a trade came, which contract it was in."""

import re
from asyncio import AbstractEventLoop
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import databento
import msgspec

from rooney.config.schema import Databento
from rooney.market.instruments import Contract, parse_contract

UNDEF_TIMESTAMP = 2**64 - 1
F_BAD_TS_RECV = 8  # a plain integer: this is asked of every trade
_CONTINUOUS = re.compile(r"^[A-Z0-9]{2,3}\.[cnvCNV]\.\d+$")


def stype_of(product_id: str) -> str:
    """How a product id must be asked for: parent (ES.FUT), continuous (ES.v.0) or raw_symbol (ESZ5)."""
    if product_id.endswith((".FUT", ".OPT")):
        return "parent"
    return "continuous" if _CONTINUOUS.match(product_id) else "raw_symbol"


class Subscription(msgspec.Struct, frozen=True):
    """Products, and whom to ask for them.

    products:    Databento product ids
    definitions: the exchange's definitions are asked for too, before the first trade
    """

    source: Databento
    products: Sequence[str]
    definitions: bool = False

    def by_stype(self) -> Iterator[tuple[str, list[str]]]:
        """(stype, product ids): each way of asking that some product needs."""
        for stype in ("parent", "continuous", "raw_symbol"):
            if symbols := [product for product in self.products if stype_of(product) == stype]:
                yield stype, symbols

    def client(self, loop: AbstractEventLoop, **options: Any) -> databento.Live:
        """A live client whose records come on the thread of `loop`; not connected yet."""
        if self.source.gateway is not None:
            options |= {"gateway": self.source.gateway, "port": self.source.port}
        return databento.Live(key=self.source.api_key.reveal(), reconnect_policy="none", loop=loop, **options)

    def subscribe(self, live: databento.Live, schema: str, start_ns: int | None) -> None:
        """Ask for all products; blocks until the client has connected."""
        for stype, symbols in self.by_stype():
            live.subscribe(self.source.dataset, schema, symbols=symbols, stype_in=stype, start=start_ns)

    @property
    def is_continuous(self) -> bool:
        """True where some product is a continuous one, whose contract changes."""
        return any(stype_of(product) == "continuous" for product in self.products)


def received_ns(trade: Any) -> int:
    """When Databento received a trade, UTC ns; the exchange's own time where that is not known."""
    ts_recv: int = trade.ts_recv
    if ts_recv == UNDEF_TIMESTAMP or trade.flags & F_BAD_TS_RECV:
        ts_recv = trade.ts_event
    return ts_recv


def contract_at(raw: str, ts_ns: int) -> Contract | None:
    """The outright that a raw symbol meant at `ts_ns`; None for spreads and anything else."""
    return parse_contract(raw, datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).date())
