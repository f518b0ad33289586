"""Entries: what holds one back besides the rule (filters, windows of the day, a model), and deciding it."""

import math
from typing import Any

from numpy.typing import NDArray

from rooney.kernels import exits, positions
from rooney.kernels.codes import Cause, Reason, Role, VetoKind
from rooney.kernels.forest import LARGEST, votes
from rooney.kernels.jit import njit
from rooney.kernels.units import DAY_NS


@njit(cache=True)
def first_refusing(filters: Any, numbers: NDArray[Any]) -> int:
    """Index of the first filter that says no, -1 if all pass. numbers: the instrument's values by column."""
    for k in range(len(filters)):
        rule = filters[k]
        if rule.column < 0:
            continue
        x = numbers[rule.column]
        if math.isnan(x):
            if rule.pass_missing == 0:
                return k
        elif not (rule.low <= x <= rule.high and rule.above < x < rule.below):
            return k
        elif rule.allowed != 0 and (x < 0.0 or x > 62.0 or rule.allowed >> int(x) & 1 == 0):
            return k
    return -1


@njit(cache=True)
def in_any(windows: NDArray[Any], local_ns: int) -> bool:
    """True if a local time falls into one of the windows int64[k, (begin, end)], ns of the day, over midnight too."""
    at = local_ns % DAY_NS
    for k in range(len(windows)):
        begin, end = windows[k, 0], windows[k, 1]
        if begin < end:
            if begin <= at < end:
                return True
        elif at >= begin or at < end:
            return True
    return False


@njit(cache=True)
def score(veto: Any, inputs: Any, nodes: Any, numbers: NDArray[Any]) -> float:
    """Score of an instrument's model on its values, in [0, 1]; NaN while a required one is missing.

    Logistic: 1 / (1 + exp(-(intercept + sum of weight z))), z = (x - mean) / deviation clipped. Forest: its votes. A
    missing x that is not required counts as 0, before it is standardised (old system §3.1).
    """
    total = veto.intercept
    for k in range(veto.first, veto.first + veto.count):
        x = numbers[inputs[k].column]
        if math.isnan(x):
            if inputs[k].required:
                return math.nan
            x = 0.0
        if veto.kind == VetoKind.FOREST:
            if abs(x) > LARGEST:
                return math.nan
            continue
        z = (x - inputs[k].mean) / inputs[k].deviation
        total += inputs[k].weight * max(-veto.clip, min(veto.clip, z))
    if veto.kind == VetoKind.FOREST:
        return votes(nodes, veto.first_node, veto.n_trees, numbers)
    return 1.0 / (1.0 + math.exp(-total))


@njit(cache=True)
def refusal_by_values(
    i: int,
    filters: Any,
    veto: Any,
    veto_inputs: Any,
    nodes: Any,
    numbers: NDArray[Any],
    scores: NDArray[Any],
) -> int:
    """Reason of the filters or the model to hold an entry back, 0 for none; scores[i] is set where the model is asked.

    numbers: the instrument's values by column
    """
    if first_refusing(filters, numbers) >= 0:
        return Reason.FILTERED
    if veto.kind == VetoKind.ABSENT:
        return Reason.NO_MODEL
    if veto.kind != VetoKind.NONE:
        scores[i] = score(veto, veto_inputs, nodes, numbers)
        if math.isnan(scores[i]):
            return Reason.NO_SCORE
        if scores[i] < veto.threshold:
            return Reason.VETOED
    return 0


@njit(cache=True)
def refusal_by_time(
    pos: Any,
    instrument: Any,
    limits: Any,
    account: Any,
    mark: Any,
    session: Any,
    windows: Any,
    no_entry: Any,
) -> int:
    """Reason for no entry now whatever the signal, 0 for none. Slots and margin are judged apart."""
    now = mark.ts_close
    if account.halted:
        return Reason.DAILY_LOSS
    if account.drawdown_halted:
        return Reason.DRAWDOWN
    if account.gap_date == mark.trade_date:
        return Reason.GAP
    if pos.blocked_date == mark.trade_date:
        return Reason.UNCERTAIN
    if now < pos.reentry_ts:
        return Reason.REENTRY_WAIT
    if len(windows) > 0 and not in_any(windows, pos.last_open_ts + mark.utc_offset + instrument.clock_ns):
        return Reason.WINDOW
    if in_any(no_entry, now + mark.utc_offset):
        return Reason.WINDOW
    if limits.old == 0 and (session.is_open == 0 or now > session.ts_close - limits.close_margin_ns):
        return Reason.CLOSE_MARGIN
    return 0


@njit(cache=True)
def enter(
    intents: Any,
    out: Any,
    i: int,
    pos: Any,
    limits: Any,
    instrument: Any,
    numbers: Any,
    side: int,
    quantity: int,
    cause: int,
    now: int,
) -> int:
    """Decide an entry, with the stop it will have; returns the reason to record."""
    positions.decide(intents, out, i, pos, limits, Role.ENTRY, side, quantity, cause, now)
    if limits.atr_column >= 0:
        pos.pending_atr = numbers[i, limits.atr_column]
    intent = intents[out.n_intents - 1]
    intent.stop_price = exits.stop_level(side, intent.price, pos.pending_atr, instrument)
    return Reason.ENTER_LONG if side == 1 else Reason.ENTER_SHORT


@njit(cache=True)
def reopen(
    intents: Any,
    out: Any,
    i: int,
    pos: Any,
    limits: Any,
    instrument: Any,
    account: Any,
    mark: Any,
    session: Any,
    numbers: Any,
) -> int:
    """Open in the new contract, in the slot it kept, what a roll closed; the reason to record, 0 while it must wait.

    A latched account gives the slot up.
    """
    now = mark.ts_close
    ends = limits.old == 0 and now > session.ts_close - limits.close_margin_ns
    if now < pos.reentry_ts or session.is_open == 0 or ends:
        return 0
    side, quantity = pos.roll_side, pos.roll_quantity
    pos.roll_side = 0
    pos.roll_quantity = 0
    if account.halted or account.drawdown_halted or account.gap_date == mark.trade_date:
        return 0
    return enter(intents, out, i, pos, limits, instrument, numbers, side, quantity, Cause.ROLL, now)
