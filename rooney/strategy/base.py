"""Base of the class that a strategy's file declares, and the parameters of all strategies."""

from typing import Any, ClassVar

import msgspec

from rooney.features.feature import Feature
from rooney.strategy.filters import Filter


class Param(msgspec.Struct, frozen=True):
    """A parameter a strategy declares.

    default:   its type is the parameter's
    low, high: inclusive; None: no limit
    help:      what it is for, with its unit
    search:    the range in which `rooney optimize` looks for a better value; None: it leaves it alone
    """

    default: float | int | bool
    low: float | None = None
    high: float | None = None
    help: str = ""
    search: tuple[float, float] | None = None


SHARED_PARAMS = {
    "time_stop_bars": Param(0, 0, 10_000, "exit after so many bars; 0 never"),
    "stop_percent": Param(0.0, 0.0, 100.0, "stop, per cent of the entry price; 0 none"),
    "stop_atr": Param(0.0, 0.0, 100.0, "stop, average true ranges from the entry; 0 none"),
    "target_percent": Param(0.0, 0.0, 1000.0, "target, per cent of the entry price; 0 none"),
    "target_atr": Param(0.0, 0.0, 100.0, "target, average true ranges from the entry; 0 none"),
    "trail_atr": Param(0.0, 0.0, 100.0, "stop that follows the best close, average true ranges behind it; 0 none"),
    "stop_atr_bars": Param(14, 1, 1000, "bars of the average true range of stop, target and trailing stop"),
}


class Strategy:
    """Base of every strategy. Subclasses state what differs.

    timeframe:      of the bars it decides on
    stop_timeframe: of the bars on whose close stop and target are judged
    params:         its own, and its defaults for the shared ones
    entry_windows:  times of the Chicago day at which a bar that may enter begins; none: all
    auto_close:     time of the Chicago day at which an open trade is closed; "": never
    warm_up_bars:   bars of its timeframe before the first decision
    filters:        entry filters by name, on unless the configuration switches them off
    """

    timeframe: ClassVar[str] = "hourly"
    stop_timeframe: ClassVar[str] = "1min"
    params: ClassVar[dict[str, Param]] = {}
    features: ClassVar[dict[str, Feature]] = {}
    entry_windows: ClassVar[tuple[str, ...]] = ()
    auto_close: ClassVar[str] = ""
    warm_up_bars: ClassVar[int] = 0
    filters: ClassVar[dict[str, Filter]] = {}

    @classmethod
    def declared(cls) -> dict[str, Param]:
        """Every parameter of the strategy, the shared ones included."""
        return SHARED_PARAMS | cls.params

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        """True to open a long position. f: features, none NaN; p: parameters; False unless overridden."""
        return False

    @staticmethod
    def should_enter_short(f: Any, p: Any) -> bool:
        """True to open a short position. f, p: as of `should_enter_long`; False unless overridden."""
        return False

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        """True to close the open trade. f: features, NaN where without a value; p: parameters; t: the trade."""
        return False

    def on_order(self, intent: Any) -> None:
        """Told of an `Intent` once it is in the ledger; can change no decision, and what it raises is logged."""

    def on_trade(self, trade: Any) -> None:
        """Told of a closed `Trade` once it is in the ledger; can change no decision, and what it raises is logged."""
