"""The book: what is open or waited for in each instrument, and the money; every change to either is here."""

import math
from typing import Any

from rooney.kernels import exits
from rooney.kernels.codes import Cause, Fill, OnUnconfirmed, OutcomeKind, Pending, Role
from rooney.kernels.jit import njit
from rooney.kernels.units import MINUTE_NS


@njit(cache=True)
def price_of(pos: Any, contract: int) -> float:
    """Last price of the front contract, or of the one before it; a contract that was left has no bars any more."""
    return pos.last_price if contract == pos.last_contract else pos.left_price


@njit(cache=True)
def decide(
    intents: Any, out: Any, i: int, pos: Any, limits: Any, role: int, side: int, quantity: int, cause: int, ts: int
) -> None:
    """Write an intent and what the instrument now waits for."""
    k = out.n_intents
    contract = pos.contract if role == Role.EXIT else pos.last_contract
    price = price_of(pos, contract)
    intents[k].instrument = i
    intents[k].role = role
    intents[k].side = side
    intents[k].quantity = quantity
    intents[k].contract = contract
    intents[k].cause = cause
    intents[k].price = price
    intents[k].stop_price = math.nan
    out.n_intents = k + 1
    pos.pending = Pending.ENTRY if role == Role.ENTRY else Pending.EXIT
    pos.pending_side = side
    pos.pending_quantity = quantity
    pos.pending_contract = contract
    pos.pending_mark = ts
    pos.pending_cause = cause
    pos.pending_score = math.nan
    pos.pending_atr = math.nan
    pos.acknowledged = 0
    pos.fill_from = ts
    pos.fill_price = math.nan
    pos.fill_ts = 0
    if limits.fill == Fill.SIGNAL_CLOSE:
        pos.fill_price = price
        pos.fill_ts = ts


@njit(cache=True)
def settle(pos: Any) -> None:
    """Nothing is waited for any more."""
    pos.pending = Pending.NONE
    pos.acknowledged = 0
    pos.fill_price = math.nan


@njit(cache=True)
def take_open(pos: Any, bar: Any) -> None:
    """The first bar that opens late enough gives the price of what is pending; of another contract, the last one's."""
    if math.isnan(pos.fill_price) and bar.valid and bar.ts_open >= pos.fill_from:
        pos.fill_price = bar.open if bar.contract == pos.pending_contract else pos.left_price
        pos.fill_ts = bar.ts_open


@njit(cache=True)
def clear(pos: Any, ts: int, wait_ns: int) -> None:
    """Flat, and no new entry before the re-entry wait is over."""
    pos.side = 0
    pos.quantity = 0
    pos.bars_held = 0
    pos.costs = 0.0
    pos.stop_price = math.nan
    pos.target_price = math.nan
    pos.reentry_ts = ts + wait_ns
    settle(pos)


@njit(cache=True)
def _with_slippage(pos: Any, side: int, slippage: float, limits: Any) -> float:
    """The fill price, slippage against us: side +1 buys. The old system kept it within the bar it was filled on."""
    price = pos.fill_price + side * slippage
    if limits.old and limits.fill == Fill.SIGNAL_CLOSE:
        price = min(price, pos.last_high) if side > 0 else max(price, pos.last_low)
    return price


@njit(cache=True)
def _set_levels(pos: Any, instrument: Any) -> None:
    """Stop and target of the entry as it was filled; average true range as it was at the decision."""
    pos.stop_price = exits.stop_level(pos.side, pos.entry_price, pos.entry_atr, instrument)
    pos.target_price = exits.target_level(pos.side, pos.entry_price, pos.entry_atr, instrument)


@njit(cache=True)
def fill_entry(pos: Any, instrument: Any, limits: Any, account: Any) -> None:
    """Book the entry at its fill price plus slippage against us."""
    pos.side = pos.pending_side
    pos.quantity = pos.pending_quantity
    pos.contract = pos.pending_contract
    pos.entry_mark = pos.pending_mark
    pos.entry_ts = pos.fill_ts
    pos.entry_price = _with_slippage(pos, pos.side, instrument.slippage, limits)
    if limits.old and limits.fill == Fill.SIGNAL_CLOSE:
        pos.entry_ts = pos.last_open_ts  # filled on the bar shown at the next stamp
    pos.entry_atr = pos.pending_atr
    pos.score = pos.pending_score
    pos.best = pos.entry_price
    pos.bars_held = 0
    pos.costs = 0.5 * instrument.commission * pos.quantity
    account.cash -= pos.costs
    _set_levels(pos, instrument)
    settle(pos)


@njit(cache=True)
def fill_exit(
    pos: Any, instrument: Any, limits: Any, account: Any, trades: Any, out: Any, i: int, ts: int, slippage: float
) -> None:
    """Book the exit at its fill price less slippage against us, and write the trade."""
    price = _with_slippage(pos, -pos.side, slippage, limits)
    costs = 0.5 * instrument.commission * pos.quantity
    gross = pos.side * pos.quantity * (price - pos.entry_price) * instrument.point_value
    account.cash += gross - costs
    trade = trades[out.n_trades]
    trade.instrument = i
    trade.contract = pos.contract
    trade.side = pos.side
    trade.quantity = pos.quantity
    trade.entry_mark = pos.entry_mark
    trade.entry_ts = pos.entry_ts
    trade.entry_price = pos.entry_price
    trade.exit_mark = pos.pending_mark
    trade.exit_ts = pos.fill_ts
    trade.exit_price = price
    trade.cause = pos.pending_cause
    trade.costs_usd = pos.costs + costs
    trade.pnl_usd = gross - trade.costs_usd
    trade.bars_held = pos.bars_held
    trade.score = pos.score
    out.n_trades += 1
    clear(pos, ts, limits.reentry_wait_ns)


@njit(cache=True)
def accept(pos: Any, ts: int) -> None:
    """The order went out, at the latest at `ts`. The price of a bar that was over before then was not its fill."""
    pos.acknowledged = 1
    pos.fill_from = max(pos.fill_from, ts - MINUTE_NS)
    if pos.fill_ts < pos.fill_from:
        pos.fill_price = math.nan


@njit(cache=True)
def hear(pos: Any, outcome: Any, limits: Any, mark: Any) -> None:
    """Apply the outcome of the intent that is pending, if it is the one meant."""
    if pos.pending == Pending.NONE or pos.pending_mark != outcome.ts_mark:
        return
    if outcome.role == Role.EXIT:
        # A refused or unconfirmed exit stays pending: delivery goes on with the same intent.
        if pos.pending == Pending.EXIT and outcome.kind == OutcomeKind.ACKNOWLEDGED:
            accept(pos, outcome.ts)
        elif pos.pending == Pending.EXIT and outcome.kind == OutcomeKind.CANCELLED:
            settle(pos)
        return
    if pos.pending != Pending.ENTRY and pos.pending != Pending.UNCERTAIN:
        return
    if outcome.kind == OutcomeKind.ACKNOWLEDGED:
        pos.pending = Pending.ENTRY
        accept(pos, outcome.ts)
    elif outcome.kind == OutcomeKind.CANCELLED:
        settle(pos)
    elif limits.on_unconfirmed == OnUnconfirmed.MANAGE:
        accept(pos, outcome.ts)
        pos.blocked_date = mark.trade_date
    else:
        pos.pending = Pending.UNCERTAIN
        pos.blocked_date = mark.trade_date
        pos.reentry_ts = mark.ts_close + limits.settle_ns


@njit(cache=True)
def obey(
    pos: Any, outcome: Any, bar: Any, instrument: Any, limits: Any, account: Any, mark: Any, trades: Any, out: Any
) -> None:
    """Apply the operator's act; it holds whatever the step had decided. bar: the finest of this mark.

    Losses count anew from where he lifts their latch; a limit that was not reached stays where it is.
    """
    if outcome.kind == OutcomeKind.RESUMED:
        if account.halted:
            account.halted = 0
            account.lifted_loss = account.day_start_equity - account.equity
        if account.drawdown_halted:
            account.drawdown_halted = 0
            account.best_equity = account.equity
        account.gap_date = 0
        pos.blocked_date = 0
    elif outcome.kind == OutcomeKind.CASH:
        account.cash += outcome.price
    elif outcome.kind == OutcomeKind.FLATTENED:
        pos.roll_side = 0
        pos.roll_quantity = 0
        if pos.side == 0 and pos.pending != Pending.NONE and pos.pending != Pending.EXIT:
            # An entry on its way was filled first, as far as can be known.
            take_open(pos, bar)
            if math.isnan(pos.fill_price):
                pos.fill_price = price_of(pos, pos.pending_contract)
                pos.fill_ts = outcome.ts
            fill_entry(pos, instrument, limits, account)
        if pos.side != 0 or pos.pending == Pending.EXIT:
            pos.pending = Pending.EXIT
            pos.pending_mark = outcome.ts_mark
            pos.pending_cause = Cause.OPERATOR
            pos.pending_contract = pos.contract
            pos.fill_price = math.nan
            pos.fill_from = outcome.ts
            accept(pos, outcome.ts)
    elif outcome.kind == OutcomeKind.POSITION:
        pos.roll_side = 0
        pos.roll_quantity = 0
        if pos.side != 0 and outcome.side == 0:
            pos.pending_mark = outcome.ts_mark
            pos.pending_cause = Cause.OPERATOR
            pos.fill_price = outcome.price
            pos.fill_ts = outcome.ts
            fill_exit(pos, instrument, limits, account, trades, out, outcome.instrument, mark.ts_close, 0.0)
            return
        if pos.side == 0 and outcome.side != 0:
            pos.contract = pos.last_contract
            pos.entry_mark = outcome.ts_mark
            pos.entry_ts = outcome.ts
            pos.entry_atr = math.nan
            pos.score = math.nan
            pos.bars_held = 0
            pos.costs = 0.5 * instrument.commission * outcome.quantity
            account.cash -= pos.costs
        pos.side = outcome.side
        pos.quantity = outcome.quantity
        pos.entry_price = outcome.price
        pos.best = outcome.price
        _set_levels(pos, instrument)
        settle(pos)
