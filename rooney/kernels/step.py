"""The step: everything a strategy decides at one mark, live and in a backtest alike.

Pure: no clock, socket, file or thread; time comes in with the mark. Phases over all instruments, always in this order:
rolls, fills of what was decided, mark to market, daily loss, features, exits, entries.

This module's step runs the rules of `rooney.kernels.rules`, which never trade; `rooney.strategy` writes a copy of this
text with one line changed, the import below, for each strategy.
"""

import math
from typing import Any

from numba import njit

from rooney.kernels.rules import fold, is_warm, shift, should_enter_long, should_enter_short, should_exit

# Plain integers: enums cost a compilation detour; a test holds them equal to `rooney.kernels.dtypes`.
ENTRY, EXIT = 1, 2
NONE, PENDING_ENTRY, PENDING_EXIT, UNCERTAIN = 0, 1, 2, 3
ACKNOWLEDGED, CANCELLED, UNCONFIRMED, FLATTENED, RESUMED, POSITION, CASH = 1, 2, 3, 4, 5, 6, 7
BY_RULE, BY_TIME_STOP, BY_DAILY_LOSS, BY_ROLL, BY_UNCONFIRMED, BY_OPERATOR = 1, 2, 3, 4, 5, 9
FLATTEN, MANAGE = 0, 1
WARMING_UP, NO_SIGNAL, HOLD, ENTER_LONG, ENTER_SHORT, EXITING, SLOTS_FULL = 1, 2, 3, 4, 5, 6, 7
DAILY_LOSS, AWAITED, REENTRY_WAIT, CLOSE_MARGIN, GAP, UNCERTAIN_ENTRY = 8, 9, 10, 11, 12, 13
MINUTE_NS = 60_000_000_000


@njit(cache=True)
def _price(pos: Any, contract: int) -> float:
    """Last price of the front contract, or of the one before it; a contract that was left has no bars any more."""
    return pos.last_price if contract == pos.last_contract else pos.left_price


@njit(cache=True)
def _decide(intents: Any, out: Any, i: int, pos: Any, role: int, side: int, quantity: int, cause: int, ts: int) -> None:
    """Write an intent and what the instrument now waits for."""
    k = out.n_intents
    contract = pos.contract if role == EXIT else pos.last_contract
    intents[k].instrument = i
    intents[k].role = role
    intents[k].side = side
    intents[k].quantity = quantity
    intents[k].contract = contract
    intents[k].cause = cause
    intents[k].price = _price(pos, contract)
    intents[k].stop_price = math.nan
    out.n_intents = k + 1
    pos.pending = PENDING_ENTRY if role == ENTRY else PENDING_EXIT
    pos.pending_side = side
    pos.pending_quantity = quantity
    pos.pending_contract = contract
    pos.pending_mark = ts
    pos.pending_cause = cause
    pos.acknowledged = 0
    pos.fill_from = ts
    pos.fill_price = math.nan
    pos.fill_ts = 0


@njit(cache=True)
def _settle(pos: Any) -> None:
    """Nothing is waited for any more."""
    pos.pending = NONE
    pos.acknowledged = 0
    pos.fill_price = math.nan


@njit(cache=True)
def _clear(pos: Any, ts: int, wait_ns: int) -> None:
    """Flat, and no new entry before the re-entry wait is over."""
    pos.side = 0
    pos.quantity = 0
    pos.bars_held = 0
    pos.costs = 0.0
    pos.reentry_ts = ts + wait_ns
    _settle(pos)


@njit(cache=True)
def _fill_entry(pos: Any, instrument: Any, account: Any) -> None:
    """Book the entry at its fill price plus slippage against us."""
    pos.side = pos.pending_side
    pos.quantity = pos.pending_quantity
    pos.contract = pos.pending_contract
    pos.entry_ts = pos.fill_ts
    pos.entry_price = pos.fill_price + pos.side * instrument.slippage
    pos.best = pos.entry_price
    pos.bars_held = 0
    pos.costs = 0.5 * instrument.commission * pos.quantity
    account.cash -= pos.costs
    _settle(pos)


@njit(cache=True)
def _fill_exit(pos: Any, instrument: Any, account: Any, trades: Any, out: Any, i: int, ts: int, wait_ns: int) -> None:
    """Book the exit at its fill price less slippage against us, and write the trade."""
    price = pos.fill_price - pos.side * instrument.slippage
    costs = 0.5 * instrument.commission * pos.quantity
    gross = pos.side * pos.quantity * (price - pos.entry_price) * instrument.point_value
    account.cash += gross - costs
    trade = trades[out.n_trades]
    trade.instrument = i
    trade.contract = pos.contract
    trade.side = pos.side
    trade.quantity = pos.quantity
    trade.entry_ts = pos.entry_ts
    trade.entry_price = pos.entry_price
    trade.exit_ts = pos.fill_ts
    trade.exit_price = price
    trade.cause = pos.pending_cause
    trade.costs_usd = pos.costs + costs
    trade.pnl_usd = gross - trade.costs_usd
    trade.bars_held = pos.bars_held
    out.n_trades += 1
    _clear(pos, ts, wait_ns)


@njit(cache=True)
def _roll(pos: Any, roll: Any, s: Any, f: Any, ts: int) -> None:
    """A new front contract. What is pending in the old one can only be assumed to fill at its last price."""
    old_last = roll.old_last if not math.isnan(roll.old_last) else pos.last_price
    pos.left_price = old_last
    if (pos.pending == PENDING_ENTRY or pos.pending == PENDING_EXIT) and math.isnan(pos.fill_price):
        pos.fill_price = old_last
        pos.fill_ts = ts
    difference = roll.new_last - old_last
    if not math.isnan(difference):
        shift(s, f, difference)
    pos.last_contract = roll.contract
    pos.last_price = roll.new_last


@njit(cache=True)
def _accept(pos: Any, ts: int) -> None:
    """The order went out, at the latest at `ts`. The price of a bar that was over before then was not its fill."""
    pos.acknowledged = 1
    pos.fill_from = max(pos.fill_from, ts - MINUTE_NS)
    if pos.fill_ts < pos.fill_from:
        pos.fill_price = math.nan


@njit(cache=True)
def _obey(pos: Any, outcome: Any, instrument: Any, limits: Any, account: Any, mark: Any, trades: Any, out: Any) -> None:
    """What the operator did; it holds whatever the step had decided."""
    if outcome.kind == RESUMED:
        account.halted = 0
        account.gap_date = 0
        pos.blocked_date = 0
    elif outcome.kind == CASH:
        account.cash += outcome.price
    elif outcome.kind == FLATTENED:
        if pos.side == 0 and pos.pending != NONE:
            # An entry on its way was filled first, as far as can be known.
            if math.isnan(pos.fill_price):
                pos.fill_price = _price(pos, pos.pending_contract)
                pos.fill_ts = outcome.ts
            _fill_entry(pos, instrument, account)
        if pos.side != 0:
            pos.pending = PENDING_EXIT
            pos.pending_mark = outcome.ts_mark
            pos.pending_cause = BY_OPERATOR
            pos.pending_contract = pos.contract
            pos.fill_price = math.nan
            pos.fill_from = outcome.ts
            _accept(pos, outcome.ts)
    elif outcome.kind == POSITION:
        if pos.side != 0 and outcome.side == 0:
            pos.pending_cause = BY_OPERATOR
            pos.fill_price = outcome.price + pos.side * instrument.slippage  # a real price holds the slippage
            pos.fill_ts = outcome.ts
            _fill_exit(pos, instrument, account, trades, out, outcome.instrument, mark.ts_close, limits.reentry_wait_ns)
            return
        if pos.side == 0 and outcome.side != 0:
            pos.contract = pos.last_contract
            pos.entry_ts = outcome.ts
            pos.bars_held = 0
            pos.costs = 0.5 * instrument.commission * outcome.quantity
            account.cash -= pos.costs
        pos.side = outcome.side
        pos.quantity = outcome.quantity
        pos.entry_price = outcome.price
        pos.best = outcome.price
        _settle(pos)


@njit(cache=True)
def _hear(pos: Any, outcome: Any, limits: Any, mark: Any) -> None:
    """What became of the intent that is pending, if it is the one meant."""
    if pos.pending == NONE or pos.pending_mark != outcome.ts_mark:
        return
    if outcome.role == EXIT:
        # A refused or unconfirmed exit stays pending: delivery goes on with the same intent.
        if pos.pending == PENDING_EXIT and outcome.kind == ACKNOWLEDGED:
            _accept(pos, outcome.ts)
        elif pos.pending == PENDING_EXIT and outcome.kind == CANCELLED:
            _settle(pos)
        return
    if pos.pending != PENDING_ENTRY and pos.pending != UNCERTAIN:
        return
    if outcome.kind == ACKNOWLEDGED:
        pos.pending = PENDING_ENTRY
        _accept(pos, outcome.ts)
    elif outcome.kind == CANCELLED:
        _settle(pos)
    elif limits.on_unconfirmed == MANAGE:
        _accept(pos, outcome.ts)
        pos.blocked_date = mark.trade_date
    else:
        pos.pending = UNCERTAIN
        pos.blocked_date = mark.trade_date
        pos.reentry_ts = mark.ts_close + limits.settle_ns


@njit(cache=True)
def step(
    limits_: Any,
    instruments: Any,
    params: Any,
    account_: Any,
    positions: Any,
    slots: Any,
    values: Any,
    mark_: Any,
    sessions: Any,
    bars: Any,
    rolls: Any,
    outcomes: Any,
    n_outcomes: int,
    intents: Any,
    trades: Any,
    reasons: Any,
    out_: Any,
) -> None:
    """Advance a strategy by one mark.

    limits_, account_, mark_, out_: arrays of one record (LIMITS, ACCOUNT, MARK, OUT)
    instruments, params, positions, values, sessions, rolls, reasons: one per instrument, in configured order
    slots:   float64[instrument, slot], state of the features
    bars:    BAR[timeframe, instrument]; those with `valid` closed at this mark
    intents: INTENT, room for two per instrument; exits come before entries
    """
    limits, account, mark, out = limits_[0], account_[0], mark_[0], out_[0]
    n = len(positions)
    now = mark.ts_close
    out.n_intents = 0
    out.n_trades = 0
    account.marks += 1
    for i in range(n):
        reasons[i] = 0

    # 1 rolls, and last prices: after a start an hour may close before the first minute with a trade
    for i in range(n):
        pos = positions[i]
        if rolls[i].valid:
            _roll(pos, rolls[i], slots[i], values[i], now)
        for timeframe in (2, 1, 0):
            bar = bars[timeframe, i]
            if bar.valid:
                if bar.contract != pos.last_contract:  # a roll nobody saw
                    pos.left_price = pos.last_price
                pos.last_contract = bar.contract
                pos.last_price = bar.close

    if mark.warming == 0:
        # The trade date turns before anything of the new one is booked.
        if mark.trade_date > account.trade_date:
            account.trade_date = mark.trade_date
            account.day_start_equity = account.equity
            account.halted = 0
        if mark.gap:
            account.gap_date = mark.trade_date

        # 2 outcomes, then fills of what was decided, at this minute's open
        for k in range(n_outcomes):
            i = outcomes[k].instrument
            if outcomes[k].kind >= FLATTENED:
                _obey(positions[i], outcomes[k], instruments[i], limits, account, mark, trades, out)
            else:
                _hear(positions[i], outcomes[k], limits, mark)
        for i in range(n):
            pos, bar = positions[i], bars[0, i]
            if pos.pending != PENDING_ENTRY and pos.pending != PENDING_EXIT:
                continue
            if math.isnan(pos.fill_price) and bar.valid and bar.ts_open >= pos.fill_from:
                pos.fill_price = bar.open if bar.contract == pos.pending_contract else pos.left_price
                pos.fill_ts = bar.ts_open
            if pos.acknowledged and not math.isnan(pos.fill_price):
                if pos.pending == PENDING_ENTRY:
                    _fill_entry(pos, instruments[i], account)
                elif pos.side == 0:
                    _clear(pos, now, limits.reentry_wait_ns)  # it closed what may never have been open
                else:
                    _fill_exit(pos, instruments[i], account, trades, out, i, now, limits.reentry_wait_ns)

    # 3 mark to market
    equity = account.cash
    for i in range(n):
        pos = positions[i]
        if pos.side != 0:
            move = _price(pos, pos.contract) - pos.entry_price
            equity += pos.side * pos.quantity * move * instruments[i].point_value
    account.equity = equity

    # 4 daily loss, latched until the trade date turns
    if account.halted == 0 and mark.warming == 0 and equity - account.day_start_equity <= -limits.daily_stop_loss:
        account.halted = 1

    # 5 features
    for timeframe in range(3):
        for i in range(n):
            bar = bars[timeframe, i]
            if bar.valid:
                fold(timeframe, slots[i], values[i], bar.open, bar.high, bar.low, bar.close, bar.volume)
    if mark.warming:
        return

    # 6 exits
    used = 0
    for i in range(n):
        pos, bar = positions[i], bars[limits.timeframe, i]
        if pos.side != 0 or pos.pending != NONE:
            used += 1
            if bar.valid:
                reasons[i] = AWAITED if pos.pending != NONE else HOLD
        if pos.pending == UNCERTAIN:
            if bar.valid:
                reasons[i] = UNCERTAIN_ENTRY
            if limits.on_unconfirmed == FLATTEN and now >= pos.reentry_ts:
                pos.contract = pos.pending_contract
                _decide(intents, out, i, pos, EXIT, pos.pending_side, 0, BY_UNCONFIRMED, now)
                pos.fill_price = _price(pos, pos.contract)
                pos.fill_ts = now
                reasons[i] = EXITING
            continue
        if pos.side == 0:
            continue
        if bar.valid:
            pos.bars_held += 1
            if pos.side * (bar.close - pos.best) > 0.0:
                pos.best = bar.close
        if pos.pending != NONE:
            continue
        cause = 0
        if pos.contract != pos.last_contract:
            cause = BY_ROLL
        elif account.halted:
            cause = BY_DAILY_LOSS
        elif bar.valid:
            if instruments[i].time_stop_bars > 0 and pos.bars_held >= instruments[i].time_stop_bars:
                cause = BY_TIME_STOP
            if should_exit(values[i], params[i], pos):
                cause = BY_RULE
        if cause:
            _decide(intents, out, i, pos, EXIT, pos.side, pos.quantity, cause, now)
            if cause == BY_ROLL:
                pos.fill_price = pos.left_price
                pos.fill_ts = now
            reasons[i] = EXITING

    # 7 entries
    for i in range(n):
        pos = positions[i]
        if not bars[limits.timeframe, i].valid or pos.side != 0 or pos.pending != NONE:
            continue
        if not is_warm(values[i]):
            reasons[i] = WARMING_UP
            continue
        side = 0
        if should_enter_long(values[i], params[i]):
            side = 1
        elif should_enter_short(values[i], params[i]):
            side = -1
        if side == 0:
            reasons[i] = NO_SIGNAL
        elif account.halted:
            reasons[i] = DAILY_LOSS
        elif account.gap_date == mark.trade_date:
            reasons[i] = GAP
        elif pos.blocked_date == mark.trade_date:
            reasons[i] = UNCERTAIN_ENTRY
        elif now < pos.reentry_ts:
            reasons[i] = REENTRY_WAIT
        elif sessions[i].is_open == 0 or now > sessions[i].ts_close - limits.close_margin_ns:
            reasons[i] = CLOSE_MARGIN
        elif used >= limits.max_positions:
            reasons[i] = SLOTS_FULL
        else:
            used += 1
            _decide(intents, out, i, pos, ENTRY, side, instruments[i].quantity, BY_RULE, now)
            reasons[i] = ENTER_LONG if side == 1 else ENTER_SHORT
