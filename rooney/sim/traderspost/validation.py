"""Refusals that the vendor gives at once: the first wrong field of a decoded body, with the vendor's code."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from rooney.market.instruments import PRODUCTS, parse_ticker

ACTIONS = frozenset({"buy", "sell", "exit", "cancel", "add", "reverse", "breakeven"})
SENTIMENTS = {"bullish": 1, "long": 1, "bearish": -1, "short": -1, "flat": 0}
ORDER_TYPES = frozenset({"market", "limit", "stop", "stop_limit", "trailing_stop"})
STOP_TYPES = frozenset({"stop", "stop_limit", "trailing_stop"})
QUANTITY_TYPES = frozenset(
    {
        "fixed_quantity",
        "dollar_amount",
        "risk_dollar_amount",
        "risk_percent",
        "percent_of_equity",
        "percent_of_position",
    }
)
TIMES_IN_FORCE = frozenset({"day", "gtc", "opg", "cls", "ioc", "fok"})


class Refusal(NamedTuple):
    """An HTTP answer other than 200."""

    status: int
    code: str
    message: str


def check(payload: object) -> Refusal | None:
    """The first thing the vendor would refuse in a decoded body, or None."""
    if not isinstance(payload, dict):
        return Refusal(400, "invalid-payload", "the body must be a JSON object")
    for wrong, code, message in _findings(payload):
        if wrong:
            return Refusal(400, code, message)
    return None


def _findings(p: dict[str, Any]) -> Iterator[tuple[bool, str, str]]:
    """(is wrong, messageCode, message) in the order they are looked at; a later one may rely on an earlier."""
    action, kind, quantity = p.get("action"), p.get("quantityType"), p.get("quantity")
    yield not _text(p.get("ticker")), "empty-ticker-name", "ticker is required"
    yield not _one_of(action, ACTIONS), "invalid-action", "action is required: " + ", ".join(sorted(ACTIONS))
    if "sentiment" in p:
        yield not _one_of(p["sentiment"], SENTIMENTS), "invalid-sentiment", "sentiment is bullish, bearish or flat"
        yield action not in ("buy", "sell"), "invalid-sentiment-action", "sentiment goes with buy and sell only"
    if kind is not None:
        yield not _one_of(kind, QUANTITY_TYPES), "invalid-quantity-type", "unknown quantityType"
        yield quantity is None, "quantity-type-requires-quantity", "quantityType needs a quantity"
        futures = kind in ("fixed_quantity", "percent_of_position")
        yield not futures, "invalid-quantity-type-for-asset-class", f"{kind} is not for futures"
        partial = kind == "percent_of_position" and action != "exit"
        yield partial, "invalid-percent-of-position-action", "percent_of_position goes with exit only"
    if quantity is not None:
        yield not _number(quantity) or quantity <= 0, "invalid-quantity", "quantity is a positive number"
        whole = kind == "percent_of_position" or quantity == int(quantity)
        yield not whole, "invalid-quantity", "futures trade in whole contracts"
    if "orderType" in p:
        yield not _one_of(p["orderType"], ORDER_TYPES), "invalid-order-type", "unknown orderType"
        trails = sum(_number(p.get(name)) for name in ("trailAmount", "trailPercent"))
        trailing = p["orderType"] == "trailing_stop"
        yield trailing and trails != 1, "invalid-trailing-stop", "trailing_stop needs trailAmount or trailPercent"
    if "timeInForce" in p:
        yield not _one_of(p["timeInForce"], TIMES_IN_FORCE), "invalid-time-in-force", "unknown timeInForce"
    if "takeProfit" in p:
        fields = ("limitPrice", "amount", "percent", "pnlAmount")
        yield not _one_number(p["takeProfit"], fields), "invalid-take-profit-price", "takeProfit needs one price field"
    if "stopLoss" in p:
        stop = p["stopLoss"]
        known = isinstance(stop, dict) and _one_of(stop.get("type"), STOP_TYPES)
        yield not known, "invalid-stop-loss-type", "stopLoss needs a type"
        fields = ("stopPrice", "amount", "percent", "pnlAmount")
        yield not _one_number(stop, fields), "invalid-stop-loss-price", "stopLoss needs one price field"
    for name in ("signalPrice", "price", "limitPrice", "stopPrice"):
        yield name in p and not _number(p[name]), "invalid-payload", f"{name} is a number"
    for name in ("cancel", "ignoreTradingWindows", "test"):
        yield name in p and not isinstance(p[name], bool), "invalid-payload", f"{name} is a boolean"
    if "rejectAfter" in p:
        seconds = p["rejectAfter"]
        yield not _number(seconds) or not 1 <= seconds <= 30, "invalid-payload", "rejectAfter is 1 to 30 seconds"
    yield "time" in p and time_s(p["time"]) is None, "invalid-payload", "time is ISO-8601 with offset"
    contract = parse_ticker(p["ticker"])
    yield contract is None or contract.root not in PRODUCTS, "ticker-does-not-exist", f"no contract {p['ticker'][:20]}"


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _one_of(value: object, allowed: Any) -> bool:
    return isinstance(value, str) and value in allowed


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _one_number(value: object, fields: Sequence[str]) -> bool:
    return isinstance(value, dict) and [_number(value[name]) for name in fields if name in value] == [True]


def time_s(text: object) -> float | None:
    """Unix seconds, or None if `text` is no ISO-8601 time with an offset."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment.timestamp() if moment is not None and moment.tzinfo is not None else None
