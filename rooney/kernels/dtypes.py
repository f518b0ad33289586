"""The records a step reads and writes. Prices in points, times in UTC ns, money in USD.

`np.record` gives attribute access with the JIT on and off alike.
"""

from typing import Any

import numpy as np

# 1min, hourly, daily, and of research only: the day in progress, complete. The first axis of the bars of a mark.
N_TIMEFRAMES = 4


def _record(*fields: tuple[str, Any]) -> np.dtype[Any]:
    return np.dtype((np.record, list(fields)))


_I, _F = np.int64, np.float64

BAR = _record(
    ("valid", _I),
    ("ts_open", _I),
    ("ts_close", _I),
    ("contract", _I),
    ("open", _F),
    ("high", _F),
    ("low", _F),
    ("close", _F),
    ("volume", _F),
)
MARK = _record(
    ("ts_close", _I),
    ("trade_date", _I),  # days since 1970
    ("utc_offset", _I),  # of Chicago, ns
    ("gap", _I),  # data before this mark is lost
    ("warming", _I),  # fold only, decide nothing
)
ROLL = _record(("valid", _I), ("contract", _I), ("old_last", _F), ("new_last", _F))
SESSION = _record(
    ("is_open", _I), ("ts_open", _I), ("ts_close", _I)
)  # of the trade date in progress; ts_close: `Window.ends_ns`
OUTCOME = _record(
    ("instrument", _I),
    ("role", _I),
    ("ts_mark", _I),
    ("kind", _I),
    ("ts", _I),  # when it was so
    ("side", _I),
    ("quantity", _I),
    ("price", _F),
)
INSTRUMENT = _record(
    ("traded", _I),  # 0: data for the features of others
    ("tick_size", _F),
    ("point_value", _F),
    ("commission", _F),  # USD per contract and round turn
    ("slippage", _F),  # points per side
    ("margin", _F),  # USD per contract; 0: not checked
    ("quantity", _I),
    ("clock_ns", _I),  # the exchange's clock ahead of Chicago's
    ("time_stop_bars", _I),  # from here on, 0: none
    ("stop_percent", _F),
    ("stop_atr", _F),
    ("target_percent", _F),
    ("target_atr", _F),
    ("trail_atr", _F),
)
LIMITS = _record(
    ("timeframe", _I),
    ("stop_timeframe", _I),
    ("max_positions", _I),
    ("daily_stop_loss", _F),
    ("drawdown_halt", _F),  # USD below the best equity; 0: none
    ("close_margin_ns", _I),
    ("reentry_wait_ns", _I),
    ("settle_ns", _I),
    ("on_unconfirmed", _I),
    ("roll_over", _I),  # 1: a position closed by a roll is opened again in the new contract
    ("fill", _I),
    ("stop_inside", _I),
    ("auto_close_ns", _I),  # time of the Chicago day; -1: never
    ("warm_up_bars", _I),  # bars of the strategy's timeframe before the first decision
    ("atr_column", _I),  # of the values, -1: none
    ("old", _I),  # profile v1
)
FILTER = _record(
    ("column", _I),  # of the values; -1: off
    ("low", _F),  # inclusive
    ("high", _F),
    ("above", _F),  # exclusive
    ("below", _F),
    ("allowed", _I),  # bit k: the value k is; 0: any
    ("pass_missing", _I),
)
VETO = _record(
    ("kind", _I),  # VetoKind
    ("threshold", _F),
    ("first", _I),  # of its inputs
    ("count", _I),
    ("intercept", _F),
    ("clip", _F),
    ("first_node", _I),
    ("n_trees", _I),
)
VETO_INPUT = _record(
    ("column", _I),
    ("required", _I),  # NaN: no score; else NaN is 0
    ("mean", _F),
    ("deviation", _F),
    ("weight", _F),
)
# Of a forest; the roots of its trees come first. Aligned, so that a node is read at once.
NODE = np.dtype(
    (
        np.record,
        np.dtype(
            [
                ("threshold", _F),  # a float32 value up to it goes left
                ("leaf", _F),  # share of class 1
                ("feature", np.int32),  # in a model file: its number; in an engine: the column of the values
                ("left", np.int32),  # counted from the forest's first node; -1: a leaf
                ("right", np.int32),
            ],
            align=True,
        ),
    )
)
ACCOUNT = _record(
    ("cash", _F),  # starting cash + realised - commissions
    ("equity", _F),
    ("best_equity", _F),
    ("day_start_equity", _F),
    ("trade_date", _I),
    ("halted", _I),  # daily loss latched
    ("drawdown_halted", _I),
    ("gap_date", _I),  # no entries on this trade date
    ("marks", _I),
    ("lifted_loss", _F),  # USD of the day's loss from which an operator lifted the latch: the limit counts from there
)
POSITION = _record(
    ("side", _I),
    ("quantity", _I),
    ("contract", _I),
    ("entry_ts", _I),
    ("entry_price", _F),
    ("bars_held", _I),
    ("best", _F),  # most favourable close since the entry
    ("entry_mark", _I),
    ("entry_atr", _F),
    ("score", _F),
    ("stop_price", _F),  # NaN: none
    ("target_price", _F),
    ("costs", _F),
    ("pending", _I),
    ("pending_side", _I),
    ("pending_quantity", _I),
    ("pending_contract", _I),
    ("pending_mark", _I),
    ("pending_cause", _I),
    ("pending_score", _F),
    ("pending_atr", _F),
    ("acknowledged", _I),
    ("fill_from", _I),  # the first bar that opens then or later gives the fill
    ("fill_price", _F),  # NaN until it is known
    ("fill_ts", _I),
    ("blocked_date", _I),  # no entries on this trade date
    ("reentry_ts", _I),
    ("last_price", _F),
    ("last_contract", _I),
    ("left_price", _F),  # last price of the contract traded before this one
    ("last_open_ts", _I),  # of the newest bar of the strategy's timeframe
    ("last_high", _F),
    ("last_low", _F),
    ("bars", _I),  # of the strategy's timeframe, ever
    ("auto_closed", _I),  # local date of the last one, profile v1
    ("roll_side", _I),  # to open again in the new contract
    ("roll_quantity", _I),
    ("seen_until", _I),  # end of the newest minute; an hour that began before it brings no price of its own
)
INTENT = _record(
    ("instrument", _I),
    ("role", _I),
    ("side", _I),
    ("quantity", _I),
    ("contract", _I),
    ("cause", _I),
    ("price", _F),
    ("stop_price", _F),  # of an entry; NaN without a stop
)
TRADE = _record(
    ("instrument", _I),
    ("contract", _I),
    ("side", _I),
    ("quantity", _I),
    ("entry_mark", _I),  # that decided it
    ("entry_ts", _I),
    ("entry_price", _F),
    ("exit_mark", _I),
    ("exit_ts", _I),
    ("exit_price", _F),
    ("cause", _I),
    ("pnl_usd", _F),  # net of costs
    ("costs_usd", _F),
    ("bars_held", _I),
    ("score", _F),  # of the veto, NaN without one
)
OUT = _record(("n_intents", _I), ("n_trades", _I))

# What the scan over history reads and keeps.

HISTORY = _record(
    ("ts_open", _I),
    ("instrument", _I),
    ("contract", _I),
    ("open", _F),
    ("high", _F),
    ("low", _F),
    ("close", _F),
    ("volume", _F),
    ("ts_close", _I),
    ("timeframe", _I),
)
WINDOW = _record(
    ("open_ns", _I),
    ("close_ns", _I),
    ("day_open_ns", _I),
    ("day_close_ns", _I),
    ("trade_date", _I),
    ("utc_offset", _I),  # of Chicago, ns
    ("ends_ns", _I),  # when the session ends for entries and the auto-close
)
ROLL_EVENT = _record(("ts", _I), ("instrument", _I), ("contract", _I), ("old_last", _F), ("new_last", _F))
RECORDED = _record(("ts_applied", _I), ("outcome", OUTCOME))
SPAN = _record(
    ("valid", _I),
    ("ts_open", _I),
    ("ts_close", _I),
    ("contract", _I),
    ("open", _F),
    ("high", _F),
    ("low", _F),
    ("close", _F),
    ("volume", _F),
)
PROGRESS = _record(
    ("ts_ns", _I),  # end of the last minute stepped
    ("trade_date", _I),
    ("utc_offset", _I),
    ("in_session", _I),  # any instrument, in the minute last looked at
    ("closes_ns", _I),  # when the first window that is open then closes
    ("open_date", _I),  # its trade date and offset, where it was in session
    ("open_offset", _I),
    ("bar", _I),
    ("event", _I),
    ("outcome", _I),
    ("n_pending", _I),
    ("n_trades", _I),
    ("n_equity", _I),
    ("decisions", _I),
    ("digest", _I),
)
EQUITY = _record(("ts", _I), ("trade_date", _I), ("equity_usd", _F))
