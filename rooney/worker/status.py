"""A worker's account of itself: STATUS line, status row of its ledger, notices. Pure.

The line is facts for `systemctl status`, the ones that may cost money first.
"""

import logging
import resource
from collections.abc import Mapping, Sequence
from typing import Any

from rooney import log
from rooney.engine.engine import Engine
from rooney.orders.decisions import Position, Trade
from rooney.orders.notices import DAILY_LOSS, DRAWDOWN, Notice, Turn

SHOWN = 2  # positions by name; of more the line would lose what comes after them


def headline(
    mode: str,
    *,
    is_disk_full: bool,
    is_redis_away: bool,
    is_alerted: bool,
    switch: str,
    has_breaker: bool,
    clock_behind_s: float,
    is_halted: bool,
) -> str:
    """The gravest of what holds the worker back, or its mode.

    is_alerted:     Redis has been away for long
    switch:         level of an operator's switch that is on, or empty
    clock_behind_s: of this machine, 0 while it agrees with the exchange's
    is_halted:      the daily loss limit is latched
    """
    states = (
        (is_disk_full, "ATTENTION disk full"),
        (is_redis_away, f"{'ALERT' if is_alerted else 'ATTENTION'} Redis away"),
        (bool(switch), f"HALTED {switch}"),
        (has_breaker, "HALTED breaker"),
        (clock_behind_s > 0, f"ATTENTION clock {clock_behind_s:.0f} s behind"),
        (is_halted, "HALTED daily loss"),
    )
    return next((text for is_so, text in states if is_so), mode)


def row(engine: Engine) -> dict[str, Any]:
    """The detail of the ledger's status row."""
    equity_usd, day_usd, is_halted = engine.equity()
    return {
        "equity_usd": equity_usd,
        "day_pnl_usd": day_usd,
        "halted": is_halted,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "warm": engine.warm(),
    }


def limit_notices(engine: Engine, strategy: str) -> list[Notice]:
    """A notice of the daily loss limit and one of the drawdown limit: each holds entries back, or does not."""
    _, day_usd, is_halted = engine.equity()
    drawdown_usd, is_drawdown_halted = engine.drawdown()
    limits = (
        (DAILY_LOSS, is_halted, f"day {day_usd:+.2f}"),
        (DRAWDOWN, is_drawdown_halted, f"{-drawdown_usd:+.2f}"),
    )
    notices = []
    for about, is_latched, usd in limits:
        if is_latched:
            text = f"{about} limit reached, est. {usd} USD: closing all, no entries until it is lifted"
            notices.append(Notice(about, Turn.BEGINS, logging.CRITICAL, f"{text} (rooney resume {strategy})"))
        else:
            notices.append(Notice(about, Turn.ENDS, log.NOTICE, f"{about} limit lifted"))
    return notices


def trade_notice(trade: Trade) -> Notice:
    """The notice of a trade that is over."""
    text = f"{trade.contract} {trade.side:+d} closed: {trade.cause}, est. P&L {trade.pnl_usd:+.2f} USD"
    return Notice("trade", Turn.NEWS, log.NOTICE, text, trade.symbol)


def holdings(positions: Sequence[Position], point_values: Mapping[str, float]) -> str:
    """`ES +1 @5321.25 open +62.50`, or `flat`. point_values: USD per 1.0 of price by symbol; `open` is an estimate."""
    held = [position for position in positions if position.side]
    if not held:
        return "flat"
    open_usd = sum(p.side * p.quantity * (p.last_price - p.entry_price) * point_values[p.symbol] for p in held)
    shown = " ".join(f"{p.symbol} {p.side * p.quantity:+d} @{p.entry_price:.10g}" for p in held)
    return f"{shown if len(held) <= SHOWN else f'{len(held)} positions'} open {open_usd:+.2f}"


def orders(unconfirmed: int, is_sending: bool) -> str:
    """`orders ok`, that of an order on its way, or how many may be live and are not known to be."""
    return f"orders {f'{unconfirmed} UNCONFIRMED' if unconfirmed else 'sending' if is_sending else 'ok'}"


def data(states: Mapping[str, str], is_open: bool, age_s: float | None) -> str:
    """`data 12s` after the newest minute's end, `data closed`, `data dead ES NQ`.

    states: symbol → state in which nothing may be entered in it; age_s: None before the first minute
    """
    if states:
        worst = sorted({(state, symbol) for symbol, state in states.items()})
        return "data " + " ".join(dict.fromkeys(word for state, symbol in worst for word in (state, symbol)))
    if not is_open:
        return "data closed"
    return f"data {age_s:.0f}s" if age_s is not None else "data none"
