"""Settings of an engine, instruments, limits and filters, and their arrays for the step."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rooney.features import PAIRS
from rooney.kernels import dtypes
from rooney.kernels.codes import Fill, OnUnconfirmed
from rooney.market.timeframes import TIMEFRAMES
from rooney.strategy.filters import Filter, filter_field

STOPS = ("time_stop_bars", "stop_percent", "stop_atr", "target_percent", "target_atr", "trail_atr")
STOP_ATR = "stop_atr"  # field of the average true range of stop, target and trailing stop


class EngineInstrument(msgspec.Struct, frozen=True):
    """Instrument of an engine, traded or read.

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


def limits_array(limits: Limits, timeframe: str, stop_timeframe: str, atr_column: int) -> NDArray[np.void]:
    """LIMITS of a strategy. atr_column: of the values, -1 for none."""
    array = np.zeros(1, dtypes.LIMITS)
    array[0] = (
        TIMEFRAMES.index(timeframe),
        TIMEFRAMES.index(stop_timeframe),
        limits.max_positions,
        limits.daily_stop_loss,
        limits.drawdown_halt_usd,
        int(limits.close_margin_s * 1e9),
        int(limits.reentry_wait_s * 1e9),
        int(limits.settle_s * 1e9),
        OnUnconfirmed[limits.on_unconfirmed_entry.upper()],
        limits.on_roll == "roll",
        Fill[limits.fill.upper()],
        limits.stop_fill == "inside",
        limits.auto_close_ns,
        limits.warm_up_bars,
        atr_column,
        limits.profile == "v1",
    )
    return array


def instruments_array(instruments: Sequence[EngineInstrument]) -> NDArray[np.void]:
    """INSTRUMENT of each."""
    array = np.zeros(len(instruments), dtypes.INSTRUMENT)
    for i, instrument in enumerate(instruments):
        array[i] = (
            instrument.traded,
            instrument.tick_size,
            instrument.point_value,
            instrument.commission_usd,
            instrument.slippage_ticks * instrument.tick_size,
            instrument.margin_usd,
            instrument.quantity,
            instrument.clock_ns,
            *(instrument.params.get(name, 0) for name in STOPS),
        )
    return array


def links_array(instruments: Sequence[EngineInstrument], symbols: Sequence[str]) -> NDArray[np.int64]:
    """int64[instrument, symbol], index of the instrument that each symbol of the features stands for; -1: none."""
    index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
    array = np.full((len(instruments), len(symbols)), -1, np.int64)
    for i, instrument in enumerate(instruments):
        for k, symbol in enumerate(symbols):
            array[i, k] = index.get(PAIRS.get(instrument.symbol, "") if symbol == "pair" else symbol, -1)
    return array


def filters_array(filters: Mapping[str, Filter], n: int, columns: Mapping[str, int]) -> NDArray[np.void]:
    """FILTER[instrument, filter], the same for all `n` instruments. columns: of the values, by field."""
    array = np.zeros((n, len(filters)), dtypes.FILTER)
    for k, (name, item) in enumerate(filters.items()):
        passes = item.missing == "pass"
        array[:, k] = (columns[filter_field(name)], item.low, item.high, item.above, item.below, item.mask, passes)
    return array
