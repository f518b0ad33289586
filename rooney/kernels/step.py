"""The step: everything a strategy decides at one mark, live and in a backtest alike.

Pure: no clock, socket, file or thread; time comes in with the mark. Phases over all instruments, always in this order:
rolls, fills of what was decided and stops within the minute, mark to market, daily loss, features, exits, entries.

This module's step runs the rules of `rooney.kernels.strategy_stub`, which never trade; `rooney.strategy.compiler`
writes a copy of this text with one line changed, the import below, for each strategy.
"""

import math
from typing import Any

from rooney.kernels import entries, exits
from rooney.kernels import positions as book
from rooney.kernels.codes import Cause, OnUnconfirmed, OutcomeKind, Pending, Reason, Role
from rooney.kernels.jit import njit
from rooney.kernels.strategy_stub import (
    FINEST,
    LINKED,
    again,
    fold,
    is_warm,
    link,
    relink,
    remember,
    shift,
    shift_linked,
    should_enter_long,
    should_enter_short,
    should_exit,
)


@njit(cache=True)
def _roll(i: int, pos: Any, roll: Any, slots: Any, values: Any, links: Any, ts: int) -> None:
    """A new front contract. What is pending in the old one can only be assumed to fill at its last price."""
    old_last = roll.old_last if not math.isnan(roll.old_last) else pos.last_price
    pos.left_price = old_last
    if (pos.pending == Pending.ENTRY or pos.pending == Pending.EXIT) and math.isnan(pos.fill_price):
        pos.fill_price = old_last
        pos.fill_ts = ts
    difference = roll.new_last - old_last
    if not math.isnan(difference):
        shift(slots[i], values[i], difference)
        for j in range(len(links)):
            for k in range(links.shape[1]):
                if links[j, k] == i:
                    shift_linked(k, slots[j], values[j], difference)
    pos.last_contract = roll.contract
    pos.last_price = roll.new_last


@njit(cache=True)
def _finest(bars: Any, i: int, pos: Any) -> int:
    """Timeframe of the bar whose prices fill and stop: an hour only where none of its minutes has been there."""
    return 1 if bars[0, i].valid == 0 and bars[1, i].ts_open >= pos.seen_until else 0


@njit(cache=True)
def _fold_all(bars: Any, past: int, instruments: Any, mark: Any, slots: Any, values: Any) -> None:
    """Bars of the timeframes below `past` that any feature reads."""
    for timeframe in range(FINEST, past):
        for i in range(len(instruments)):
            bar = bars[timeframe, i]
            if bar.valid:
                local_ns = bar.ts_open + mark.utc_offset + instruments[i].clock_ns
                fold(timeframe, slots[i], values[i], local_ns, bar.open, bar.high, bar.low, bar.close, bar.volume)


@njit(cache=True)
def _link_all(bars: Any, slots: Any, values: Any, links: Any) -> None:
    for timeframe in range(len(bars)):
        for i in range(len(values)):
            if bars[timeframe, i].valid:
                link(timeframe, slots[i], values[i], values, links[i])


@njit(cache=True)
def _is_second_look(bars: Any, limits: Any) -> bool:
    """The old system ran whenever any feed had a bar, on the last bar of those that had none."""
    for i in range(bars.shape[1]):
        if bars[limits.timeframe, i].valid:
            return True
    return False


@njit(cache=True)
def _exit_cause(
    pos: Any, bar: Any, judged: Any, instrument: Any, limits: Any, account: Any, mark: Any, session: Any, f: Any, p: Any
) -> int:
    """Why an open position is closed at this mark, 0 if it is not. The first reason that holds counts.

    bar: of the strategy's timeframe; judged: the bar on whose close stop and target are judged
    """
    if pos.contract != pos.last_contract:
        return Cause.ROLL
    if account.halted:
        return Cause.DAILY_LOSS
    if limits.old and (bar.valid == 0 or bar.ts_open <= pos.entry_ts):
        return 0  # the old system looked at exits only from the bar after the one that filled the entry
    if judged.valid and limits.stop_inside == 0:
        level = exits.crossed(pos, judged.close)
        if level:
            return level
    if bar.valid:
        if should_exit(f, p, pos):
            return Cause.RULE
        if instrument.time_stop_bars > 0 and pos.bars_held >= instrument.time_stop_bars:
            return Cause.TIME_STOP
    if exits.is_auto_close(pos, bar, limits, mark, session, instrument.clock_ns):
        return Cause.AUTO_CLOSE
    return 0


@njit(cache=True)
def step(
    limits_: Any,
    instruments: Any,
    params: Any,
    links: Any,
    filters: Any,
    vetoes: Any,
    veto_inputs: Any,
    nodes: Any,
    windows: Any,
    no_entry: Any,
    account_: Any,
    positions: Any,
    slots: Any,
    values: Any,
    numbers: Any,
    held: Any,
    mark_: Any,
    sessions: Any,
    bars: Any,
    rolls: Any,
    outcomes: Any,
    n_outcomes: int,
    intents: Any,
    trades: Any,
    reasons: Any,
    scores: Any,
    out_: Any,
) -> None:
    """Advance a strategy by one mark.

    limits_, account_, mark_, out_: arrays of one record (LIMITS, ACCOUNT, MARK, OUT)
    instruments, params, positions, values, sessions, rolls, reasons, scores: one per instrument, traded ones first
    links:    int64[instrument, symbol], index of every instrument the features of this one read; -1: none
    filters:  FILTER[instrument, filter]; vetoes: VETO per instrument, veto_inputs: VETO_INPUT of all of them
    nodes:    NODE of all forests
    windows, no_entry: int64[k, (begin, end)], ns of the day: bars that may enter (none given: all), times that may not
    slots:    float64[instrument, slot], state of the features
    numbers:  `values` again, seen as float64[instrument, column]
    held:     BAR[timeframe, instrument], daily bars that come in at the next mark (profile v1)
    bars:     BAR[timeframe, instrument]; those with `valid` closed at this mark
    intents:  INTENT, room for two per instrument; exits come before entries
    """
    limits, account, mark, out = limits_[0], account_[0], mark_[0], out_[0]
    n = len(positions)
    now = mark.ts_close
    out.n_intents = 0
    out.n_trades = 0
    account.marks += 1
    for i in range(n):
        reasons[i] = 0
        scores[i] = math.nan

    # 1 rolls, and last prices: after a start an hour may close before the first minute with a trade
    is_coarse = False  # any bar but minutes: most marks have none, and whole loops can be left out
    is_due = False  # any bar of the strategy's timeframe
    for i in range(n):
        pos = positions[i]
        if rolls[i].valid:
            _roll(i, pos, rolls[i], slots, values, links, now)
        for timeframe in (2, 1, 0):
            bar = bars[timeframe, i]
            if bar.valid:
                if bar.contract != pos.last_contract:  # a roll nobody saw
                    pos.left_price = pos.last_price
                pos.last_contract = bar.contract
                pos.last_price = bar.close
        if bars[0, i].valid:
            pos.seen_until = bars[0, i].ts_close
        if bars[1, i].valid or bars[2, i].valid or bars[3, i].valid:
            is_coarse = True
        bar = bars[limits.timeframe, i]
        if bar.valid:
            is_due = True
            pos.bars += 1
            pos.last_open_ts = bar.ts_open
            pos.last_high = bar.high
            pos.last_low = bar.low

    if mark.warming == 0:
        # The trade date turns before anything of the new one is booked.
        if mark.trade_date > account.trade_date:
            account.trade_date = mark.trade_date
            account.day_start_equity = account.equity
            account.halted = 0
            account.lifted_loss = 0.0
        if mark.gap:
            account.gap_date = mark.trade_date

        # 2 outcomes, fills of what was decided at the open of the finest bar there is, stops within that bar
        for k in range(n_outcomes):
            i = outcomes[k].instrument
            if outcomes[k].kind >= OutcomeKind.FLATTENED:
                bar = bars[_finest(bars, i, positions[i]), i]
                book.obey(positions[i], outcomes[k], bar, instruments[i], limits, account, mark, trades, out)
            else:
                book.hear(positions[i], outcomes[k], limits, mark)
        for i in range(n):
            pos = positions[i]
            if pos.pending == Pending.NONE and (limits.stop_inside == 0 or pos.side == 0):
                continue
            bar = bars[_finest(bars, i, pos), i]
            if pos.pending == Pending.ENTRY or pos.pending == Pending.EXIT:
                book.take_open(pos, bar)
                if pos.acknowledged and not math.isnan(pos.fill_price):
                    if pos.pending == Pending.ENTRY:
                        book.fill_entry(pos, instruments[i], limits, account)
                    elif pos.side == 0:
                        book.clear(pos, now, limits.reentry_wait_ns)  # it closed what may never have been open
                    else:
                        slippage = instruments[i].slippage
                        book.fill_exit(pos, instruments[i], limits, account, trades, out, i, now, slippage)
            if limits.stop_inside and pos.side != 0 and pos.pending == Pending.NONE and bar.valid:
                cause = exits.touched_inside(pos, bar)
                if cause and bar.contract == pos.contract:
                    book.decide(intents, out, i, pos, limits, Role.EXIT, pos.side, pos.quantity, cause, now)
                    # A stop slips when it is booked; a target is a limit and does not.
                    price = exits.inside_price(pos, bar, cause)
                    pos.fill_price = price if cause == Cause.STOP else price + pos.side * instruments[i].slippage
                    pos.fill_ts = now
                    reasons[i] = Reason.EXIT

    # 3 mark to market
    equity = account.cash
    for i in range(n):
        pos = positions[i]
        if pos.side != 0:
            price = book.price_of(pos, pos.contract)
            if limits.stop_inside and pos.pending == Pending.EXIT and not math.isnan(pos.fill_price):
                price = pos.fill_price  # the level was reached within the bar: where it closed is not our loss
            move = price - pos.entry_price
            equity += pos.side * pos.quantity * move * instruments[i].point_value
    account.equity = equity

    # 4 daily loss, latched until the trade date turns; drawdown, latched until an operator resumes
    if mark.warming == 0:
        if account.halted == 0 and equity - account.day_start_equity + account.lifted_loss <= -limits.daily_stop_loss:
            account.halted = 1
        account.best_equity = max(account.best_equity, equity)
        if limits.drawdown_halt > 0.0 and account.best_equity - equity >= limits.drawdown_halt:
            account.drawdown_halted = 1

    # 5 features
    if limits.old:
        _fold_all(held, len(held), instruments, mark, slots, values)
        if LINKED:
            _link_all(held, slots, values, links)
        for timeframe in (2, 3):
            for i in range(n):
                # The old system read the daily bar before the one in progress: a day comes in after its last decision.
                held[timeframe, i].valid = 0
                if bars[timeframe, i].valid and bars[timeframe, i].ts_close == now:
                    held[timeframe, i] = bars[timeframe, i]
                    bars[timeframe, i].valid = 0
    _fold_all(bars, len(bars) if is_coarse else 1, instruments, mark, slots, values)
    second_look = limits.old != 0 and _is_second_look(bars, limits)
    if second_look:
        for i in range(n):
            if bars[limits.timeframe, i].valid == 0 and positions[i].bars > 0:
                again(slots[i], values[i])
    if LINKED:
        _link_all(bars, slots, values, links)
    if second_look:
        for i in range(n):
            if bars[limits.timeframe, i].valid == 0 and positions[i].bars > 0:
                relink(slots[i], values[i], values, links[i])
    if mark.warming:
        return

    # 6 exits
    used = 0
    margin = 0.0
    is_rolling = False
    for i in range(n):
        pos = positions[i]
        if pos.roll_side != 0:
            is_rolling = True
        if pos.side == 0 and pos.pending == Pending.NONE and pos.roll_side == 0:
            continue
        used += 1
        bar, instrument = bars[limits.timeframe, i], instruments[i]
        quantity = pos.quantity if pos.side != 0 else max(pos.pending_quantity, pos.roll_quantity)
        margin += quantity * instrument.margin
        if bar.valid and reasons[i] == 0:
            reasons[i] = Reason.PENDING if pos.pending != Pending.NONE else Reason.HOLD
        if pos.pending == Pending.UNCERTAIN:
            if bar.valid:
                reasons[i] = Reason.UNCERTAIN
            if limits.on_unconfirmed == OnUnconfirmed.FLATTEN and now >= pos.reentry_ts:
                pos.contract = pos.pending_contract
                book.decide(intents, out, i, pos, limits, Role.EXIT, pos.pending_side, 0, Cause.UNCONFIRMED, now)
                pos.fill_price = book.price_of(pos, pos.contract)
                pos.fill_ts = now
                reasons[i] = Reason.EXIT
            continue
        if pos.side == 0:
            continue
        atr = math.nan
        if limits.atr_column >= 0:
            atr = numbers[i, limits.atr_column]
        if bar.valid:
            if limits.old == 0 or bar.ts_open > pos.entry_ts:
                pos.bars_held += 1
            if limits.old:
                exits.old_levels(pos, instrument, atr)
        if pos.pending == Pending.NONE:
            judged = bars[limits.stop_timeframe, i]
            cause = _exit_cause(pos, bar, judged, instrument, limits, account, mark, sessions[i], values[i], params[i])
            if cause:
                book.decide(intents, out, i, pos, limits, Role.EXIT, pos.side, pos.quantity, cause, now)
                if cause == Cause.ROLL:
                    pos.fill_price = pos.left_price
                    pos.fill_ts = now
                    if limits.roll_over:
                        pos.roll_side = pos.side
                        pos.roll_quantity = pos.quantity
                reasons[i] = Reason.EXIT
            if bar.valid and not (limits.old and bar.ts_open <= pos.entry_ts):
                remember(values[i])
        if bar.valid and pos.side * (bar.close - pos.best) > 0.0:
            pos.best = bar.close
        if bar.valid:
            exits.trail(pos, instrument, atr)

    # 7 entries
    if not (is_due or is_rolling):
        return
    for i in range(n):
        pos, bar, instrument = positions[i], bars[limits.timeframe, i], instruments[i]
        is_looked_at = bar.valid != 0 or second_look
        if (
            not (is_looked_at or pos.roll_side != 0)
            or pos.side != 0
            or pos.pending != Pending.NONE
            or instrument.traded == 0
        ):
            continue
        if pos.roll_side != 0:
            if bar.valid:
                reasons[i] = Reason.ROLLING
            if bars[0, i].valid or bars[1, i].valid:
                reason = entries.reopen(intents, out, i, pos, limits, instrument, account, mark, sessions[i], numbers)
                if reason:
                    reasons[i] = reason
            continue
        if pos.bars < limits.warm_up_bars or not is_warm(values[i]):
            reasons[i] = Reason.WARMING_UP
            continue
        side = 0
        if should_enter_long(values[i], params[i]):
            side = 1
        elif should_enter_short(values[i], params[i]):
            side = -1
        reason = 0
        if side == 0:
            reason = Reason.NO_SIGNAL
        else:
            reason = entries.refusal_by_values(i, filters[i], vetoes[i], veto_inputs, nodes, numbers[i], scores)
        if reason == 0:
            reason = entries.refusal_by_time(pos, instrument, limits, account, mark, sessions[i], windows, no_entry)
        if reason == 0 and used >= limits.max_positions:
            reason = Reason.SLOTS_FULL
        if reason == 0 and margin + instrument.quantity * instrument.margin > account.equity:
            reason = Reason.MARGIN
        if reason == 0:
            used += 1
            margin += instrument.quantity * instrument.margin
            quantity = instrument.quantity
            reason = entries.enter(intents, out, i, pos, limits, instrument, numbers, side, quantity, Cause.RULE, now)
            pos.pending_score = scores[i]
        reasons[i] = reason
        if reason != Reason.SLOTS_FULL:
            remember(values[i])
