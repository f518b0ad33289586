"""Settings of an engine: its instruments and the limits of its account."""

from typing import Any

import msgspec

STOPS = ("time_stop_bars", "stop_percent", "stop_atr", "target_percent", "target_atr", "trail_atr")


STOP_ATR = "stop_atr"  # field of the average true range of stop, target and trailing stop


class EngineInstrument(msgspec.Struct, frozen=True):
    """What the step must know of an instrument.

    slippage_ticks: per side; commission_usd: round turn per contract; margin_usd: per contract, 0 is not checked
    params:         the strategy's, and the shared ones by name
    traded:         False: data for the features of others
    clock_ns:       the clock its bars are judged by, ahead of Chicago's
    """

    symbol: str
    group: str
    tick_size: float
    point_value: float
    commission_usd: float
    slippage_ticks: float
    quantity: int
    params: dict[str, Any]
    margin_usd: float = 0.0
    traded: bool = True
    clock_ns: int = 0


class Limits(msgspec.Struct, frozen=True):
    """Rules of the account and of the day; USD, seconds, ns of the Chicago day.

    drawdown_halt_usd: below the best equity; 0 never
    entry_windows:     times at which a bar that may enter begins, (begin, end); none: all
    no_entry_windows:  times at which nothing may be entered
    auto_close_ns:     -1 never
    warm_up_bars:      bars of the strategy's timeframe before its first decision
    """

    starting_cash: float = 150_000.0
    max_positions: int = 2
    daily_stop_loss: float = 2_500.0
    drawdown_halt_usd: float = 0.0
    close_margin_s: float = 120.0
    reentry_wait_s: float = 60.0
    settle_s: float = 60.0
    on_unconfirmed_entry: str = "flatten"
    on_roll: str = "close"
    fill: str = "next_open"
    stop_fill: str = "close"
    entry_windows: tuple[tuple[int, int], ...] = ()
    no_entry_windows: tuple[tuple[int, int], ...] = ()
    auto_close_ns: int = -1
    warm_up_bars: int = 0
    profile: str = "default"
