"""Payload of an intent: the JSON object that TradersPost is sent."""

import math
from datetime import UTC, datetime
from decimal import Decimal

from rooney.orders.intents import Intent, Payload, Role, Side

REJECT_AFTER_S = range(1, 31)  # what the vendor accepts


def payload_of(
    intent: Intent, *, reject_after_s: int, tick_size: float, ts_decided_ns: int, broker_stop: bool = False
) -> Payload:
    """The JSON object for one intent. Raises ValueError if an entry makes no sense; an exit always has a payload.

    reject_after_s: 1 to 30, how old the signal may be when TradersPost plans it; entries only
    tick_size:      of the ordered product, price units
    ts_decided_ns:  when rooney decided, UTC ns
    broker_stop:    an entry must carry its protective stop order, and makes no sense without its price
    """
    common: Payload = {
        "ticker": intent.ticker,
        "orderType": "market",
        "cancel": True,
        "time": _iso(ts_decided_ns),
        "extras": {"intent": intent.id, "strategy": intent.strategy, "seq": intent.seq, "mode": intent.mode},
    }
    if math.isfinite(intent.signal_price):  # an exit may have no price to show, and must go out all the same
        common["signalPrice"] = _on_tick(intent.signal_price, tick_size)
    if intent.role is Role.EXIT:
        # No quantity (sizes may have drifted) and no sentiment (refused with exit): closes whatever is open.
        return common | {"action": "exit", "ignoreTradingWindows": True}
    if intent.side is Side.FLAT or intent.quantity < 1 or "signalPrice" not in common:
        raise ValueError(
            f"intent {intent.id}: an entry needs a side, a quantity of 1 or more and a price, "
            f"not {intent.side.name}, {intent.quantity}, {intent.signal_price}"
        )
    if reject_after_s not in REJECT_AFTER_S:
        raise ValueError(f"reject_after_s is 1 to 30 seconds, not {reject_after_s}")
    entry = common | {
        "action": "buy" if intent.side is Side.LONG else "sell",
        "quantity": intent.quantity,
        "quantityType": "fixed_quantity",
        "rejectAfter": reject_after_s,
    }
    if broker_stop:
        if not math.isfinite(intent.stop_price):
            raise ValueError(
                f"intent {intent.id}: broker_stop is on, and the strategy gives no stop price; an unprotected entry is "
                "not sent"
            )
        entry["stopLoss"] = {"type": "stop", "stopPrice": _on_tick(intent.stop_price, tick_size)}
    return entry


def _on_tick(price: float, tick_size: float) -> float:
    """Nearest multiple of the tick, in decimal so that JSON shows 0.65435 and not 0.6543500000000001."""
    tick = Decimal(repr(tick_size))
    return float(round(Decimal(repr(price)) / tick) * tick)


def _iso(ts_ns: int) -> str:
    """2026-11-22T12:00:00.123456+00:00"""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000).isoformat(timespec="microseconds")
