"""Exits every strategy shares: stop, target, trailing stop, time stop, auto-close; each is configuration."""

import math
from typing import Any

from rooney.kernels.codes import Cause
from rooney.kernels.jit import njit
from rooney.kernels.units import DAY_NS, MINUTE_NS

EVENING_NS = 61_200_000_000_000  # 17:00 in Chicago: what opens from then on is the next day's session


@njit(cache=True)
def stop_level(side: int, entry: float, atr: float, instrument: Any) -> float:
    """Stop of an entry at that price: per cent of it or average true ranges, the nearer one; NaN without."""
    level = math.nan
    if instrument.stop_percent > 0.0:
        level = entry * (1.0 - side * instrument.stop_percent / 100.0)
    if instrument.stop_atr > 0.0 and not math.isnan(atr):
        by_atr = entry - side * (instrument.stop_atr * atr)
        if math.isnan(level) or side * (by_atr - level) > 0.0:
            level = by_atr
    return level


@njit(cache=True)
def target_level(side: int, entry: float, atr: float, instrument: Any) -> float:
    """As stop_level, on the other side."""
    level = math.nan
    if instrument.target_percent > 0.0:
        level = entry * (1.0 + side * instrument.target_percent / 100.0)
    if instrument.target_atr > 0.0 and not math.isnan(atr):
        by_atr = entry + side * (instrument.target_atr * atr)
        if math.isnan(level) or side * (level - by_atr) > 0.0:
            level = by_atr
    return level


@njit(cache=True)
def trail(pos: Any, instrument: Any, atr: float) -> None:
    """Move the stop after the most favourable close, never back. atr: of the newest bar, NaN moves nothing."""
    if instrument.trail_atr > 0.0 and not math.isnan(atr):
        level = pos.best - pos.side * (instrument.trail_atr * atr)
        if math.isnan(pos.stop_price) or pos.side * (level - pos.stop_price) > 0.0:
            pos.stop_price = level


@njit(cache=True)
def old_levels(pos: Any, instrument: Any, atr: float) -> None:
    """The old system measured stop and target with the ATR of the bar it checked, 0 while there is none."""
    if math.isnan(atr):
        atr = 0.0
    if instrument.stop_atr > 0.0:
        pos.stop_price = pos.entry_price - pos.side * (instrument.stop_atr * atr)
    if instrument.target_atr > 0.0:
        pos.target_price = pos.entry_price + pos.side * (instrument.target_atr * atr)


@njit(cache=True)
def crossed(pos: Any, close: float) -> int:
    """Which level a close has reached: Cause.STOP, Cause.TARGET or 0. Both cannot be; NaN is no level."""
    if pos.side * (close - pos.stop_price) <= 0.0:
        return Cause.STOP
    if pos.side * (close - pos.target_price) >= 0.0:
        return Cause.TARGET
    return 0


@njit(cache=True)
def touched_inside(pos: Any, bar: Any) -> int:
    """Which level a bar has touched; the stop if it touched both, for nobody knows which came first."""
    worst, best = (bar.low, bar.high) if pos.side > 0 else (bar.high, bar.low)
    if pos.side * (worst - pos.stop_price) <= 0.0:
        return Cause.STOP
    if pos.side * (best - pos.target_price) >= 0.0:
        return Cause.TARGET
    return 0


@njit(cache=True)
def inside_price(pos: Any, bar: Any, cause: int) -> float:
    """Fill at the level, or at the open of a bar that opened beyond it."""
    level = pos.stop_price if cause == Cause.STOP else pos.target_price
    beyond = pos.side * (bar.open - level)
    return bar.open if (cause == Cause.STOP and beyond < 0.0) or (cause == Cause.TARGET and beyond > 0.0) else level


@njit(cache=True)
def last_auto_close(limits: Any, mark: Any) -> int:
    """The newest auto-close time at or before this mark, UTC ns."""
    local = mark.ts_close + mark.utc_offset - limits.auto_close_ns
    return local // DAY_NS * DAY_NS + limits.auto_close_ns - mark.utc_offset


@njit(cache=True)
def is_auto_close(pos: Any, bar: Any, limits: Any, mark: Any, session: Any, clock_ns: int) -> bool:
    """True if a position opened before today's auto-close time is past it.

    Where the session ends before its day's auto-close time (a half-day, grains), it is the margin before the end: an
    exit decided when the market has closed would be filled at the next session's open.
    Profile v1: only on the bar that is stamped with that time, on the exchange's clock, and once a date.
    """
    if limits.auto_close_ns < 0:
        return False
    if limits.old:
        if not bar.valid:
            return False
        local = bar.ts_open + mark.utc_offset + clock_ns
        if local % DAY_NS != limits.auto_close_ns or pos.auto_closed == local // DAY_NS:
            return False
        pos.auto_closed = local // DAY_NS
        return True
    if session.is_open == 0:
        return False  # which marks there are while it is closed depends on the other instruments
    at = last_auto_close(limits, mark)
    if session.ts_open < at and pos.entry_ts < at:
        return True
    if mark.ts_close < session.ts_close - max(limits.close_margin_ns, MINUTE_NS):
        return False
    evening = (session.ts_close + mark.utc_offset) // DAY_NS * DAY_NS + EVENING_NS - mark.utc_offset
    return session.ts_close <= at + DAY_NS < evening
