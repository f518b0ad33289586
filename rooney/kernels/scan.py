"""The step over history: bars in, trades and equity out, minute by minute exactly as a live worker.

Like the hub, it visits every minute in which any instrument is in session (and others only if something traded), folds
minutes into hours and days, and closes both with the last session minute they have. Like delivery on a good day, it
tells the step at the next mark that its intents were acknowledged, unless recorded outcomes are given.

Where history holds hours instead of minutes, they are folded into days alike; a history without any minutes has one
mark per distinct end of a bar. Days from files stand for themselves.

History comes in chunks of whole minutes; everything that must outlive a chunk is in the arrays passed in.
"""

import math
from typing import Any

from rooney.kernels.codes import OutcomeKind
from rooney.kernels.jit import njit
from rooney.kernels.step import step
from rooney.kernels.units import DAY_NS, HOUR_NS, MINUTE_NS

FOREVER_NS = 1 << 62
EVENING_NS = 17 * HOUR_NS  # of the Chicago day: a trade date begins
FNV_PRIME = 1_099_511_628_211


@njit(cache=True)
def _begin_span(span: Any, bar: Any, ts_open: int, ts_close: int) -> None:
    """An hour or day begins with this finer bar, which is still to be folded in."""
    span.valid = 1
    span.ts_open = ts_open
    span.ts_close = ts_close
    span.open = bar.open
    span.high = bar.high
    span.low = bar.low
    span.volume = 0.0


@njit(cache=True)
def _fold_span(span: Any, bar: Any) -> None:
    """Add a finer bar to an hour or day in progress."""
    span.high = max(span.high, bar.high)
    span.low = min(span.low, bar.low)
    span.close = bar.close
    span.contract = bar.contract
    span.volume += bar.volume


@njit(cache=True)
def _hour_close(windows: Any, w: int, past: int, hour_end: int) -> int:
    """End of the last session minute before `hour_end`, from window `w` on; a halt within the hour does not end it."""
    while windows[w].close_ns < hour_end and w + 1 < past and windows[w + 1].open_ns < hour_end:
        w += 1
    return min(windows[w].close_ns, hour_end)


@njit(cache=True)
def _close_span(span: Any, bar: Any) -> None:
    """Hand out a finished hour or day."""
    bar.valid = 1
    bar.ts_open = span.ts_open
    bar.ts_close = span.ts_close
    bar.contract = span.contract
    bar.open = span.open
    bar.high = span.high
    bar.low = span.low
    bar.close = span.close
    bar.volume = span.volume
    span.valid = 0


@njit(cache=True)
def _look_up(
    ts_open: int, windows: Any, first_window: Any, group_of: Any, window_at: Any, window_of: Any, sessions: Any, at: Any
) -> int:
    """Which sessions the minute from `ts_open` on finds open; returns when that may change, by the next open or close.

    window_at: int64[group], moved on to the window each group is in or waits for
    window_of: int64[instrument], filled with the window that contains ts_open, -1 for none
    sessions:  SESSION per instrument at the minute's end, filled
    at:        PROGRESS: in_session, closes_ns, open_date and open_offset are set
    """
    ts_close = ts_open + MINUTE_NS
    changes_ns = FOREVER_NS
    at.in_session = 0
    at.closes_ns = FOREVER_NS
    for g in range(len(window_at)):
        past = first_window[g + 1]
        w = window_at[g]
        while w < past and windows[w].close_ns <= ts_open:
            w += 1
        window_at[g] = w
        if w < past and windows[w].open_ns <= ts_open:
            at.in_session = 1
            at.open_date = windows[w].trade_date
            at.open_offset = windows[w].utc_offset
            at.closes_ns = min(at.closes_ns, windows[w].close_ns)
        if w < past:
            changes_ns = min(changes_ns, windows[w].close_ns if windows[w].open_ns <= ts_open else windows[w].open_ns)
    for i in range(len(group_of)):
        past = first_window[group_of[i] + 1]
        w = window_at[group_of[i]]
        window_of[i] = w if w < past and windows[w].open_ns <= ts_open else -1
        if w < past and windows[w].close_ns <= ts_close:
            w += 1
        if w < past and windows[w].open_ns <= ts_close:
            sessions[i].is_open = 1
            sessions[i].ts_open = windows[w].day_open_ns
            sessions[i].ts_close = windows[w].ends_ns
        else:
            sessions[i].is_open = 0
            sessions[i].ts_open = 0
            sessions[i].ts_close = 0
    return changes_ns


@njit(cache=True)
def _mix(digest: int, word: int) -> int:
    """The FNV-1a hash after another word, modulo 2**63 so that it stays a plain integer with the JIT off."""
    return ((digest ^ (word & 0x7FFFFFFFFFFFFFFF)) * FNV_PRIME) & 0x7FFFFFFFFFFFFFFF


@njit(cache=True)
def scan(
    limits: Any,
    instruments: Any,
    params: Any,
    links: Any,
    filters: Any,
    vetoes: Any,
    veto_inputs: Any,
    nodes: Any,
    entry_windows: Any,
    no_entry: Any,
    account: Any,
    positions: Any,
    slots: Any,
    values: Any,
    numbers: Any,
    held: Any,
    mark: Any,
    sessions: Any,
    bars: Any,
    rolls: Any,
    outcomes: Any,
    intents: Any,
    intent_words: Any,
    trades: Any,
    reasons: Any,
    scores: Any,
    out: Any,
    history: Any,
    windows: Any,
    first_window: Any,
    group_of: Any,
    events: Any,
    recorded: Any,
    hours: Any,
    days: Any,
    progress: Any,
    window_at: Any,
    window_of: Any,
    turns: Any,
    labels: Any,
    found_trades: Any,
    equity: Any,
    until_ns: int,
    sparse: int,
) -> int:
    """Step every minute that ends after `progress.ts_ns`, up to and including `until_ns`; returns how many.

    limits … out: as in step
    intent_words:  the intents again, seen as int64[intent, field], for the digest
    history:       HISTORY by end, timeframe and instrument
    windows:       WINDOW of all groups, group after group; first_window: int64[group + 1], where each begins
    group_of:      int64[instrument]
    events:        ROLL_EVENT by time
    recorded:      RECORDED outcomes by the mark at which they apply; empty: every intent is acknowledged at once
    hours, days:   SPAN per instrument, in progress
    progress:      PROGRESS, where the scan stands; its cursors count within this call's arrays
    window_at:     int64[group], the window each group is in or waits for
    turns, labels: the trade dates of all time, as `research.history.sessions.trade_dates` has them
    found_trades:  TRADE, room for every trade; equity: EQUITY, room for a row an hour and one where a window closes
    sparse:        1: history has no minutes, so only minutes in which a bar ends are visited
    """
    at = progress[0]
    n = len(positions)
    n_groups = len(first_window) - 1
    done = 0
    ts_open = at.ts_ns
    # Little changes from one minute to the next: sessions are looked up when one opens or closes, hours and days when
    # the first of them ends, and what was not set need not be cleared.
    changes_ns = ts_open
    ends_ns = ts_open
    is_clear = False
    while ts_open < until_ns:
        ts_close = ts_open + MINUTE_NS
        if ts_close >= changes_ns:
            changes_ns = _look_up(ts_open, windows, first_window, group_of, window_at, window_of, sessions, at)
        has_bars = at.bar < len(history) and history[at.bar].ts_close <= ts_close
        if (sparse or not at.in_session) and not has_bars:
            # Nothing can happen before the next window opens or the next bar.
            following = until_ns
            for g in range(n_groups):
                if sparse == 0 and window_at[g] < first_window[g + 1]:
                    following = min(following, windows[window_at[g]].open_ns)
            if at.bar < len(history):
                following = min(following, history[at.bar].ts_close - MINUTE_NS)
            ts_open = max(following, ts_close)
            continue

        for i in range(n):
            bars[0, i].valid = 0
        if not is_clear:
            for i in range(n):
                for timeframe in range(1, len(bars)):
                    bars[timeframe, i].valid = 0
                rolls[i].valid = 0
            is_clear = True
        while at.event < len(events) and events[at.event].ts <= ts_close:
            event = events[at.event]
            roll = rolls[event.instrument]
            roll.valid = 1
            roll.contract = event.contract
            roll.old_last = event.old_last
            roll.new_last = event.new_last
            at.event += 1
            is_clear = False
        while at.bar < len(history) and history[at.bar].ts_close <= ts_close:
            source = history[at.bar]
            at.bar += 1
            i = source.instrument
            w = window_of[i]
            if w < 0:
                continue  # outside the session: in no hour and no day, and no price to act on
            bar = bars[source.timeframe, i]
            bar.valid = 1
            bar.ts_open = source.ts_open
            bar.ts_close = source.ts_close
            bar.contract = source.contract
            bar.open = source.open
            bar.high = source.high
            bar.low = source.low
            bar.close = source.close
            bar.volume = source.volume
            if source.timeframe == 0:
                if hours[i].valid == 0:
                    hour_open = ts_open - ts_open % HOUR_NS
                    hour_close = _hour_close(windows, w, first_window[group_of[i] + 1], hour_open + HOUR_NS)
                    _begin_span(hours[i], bar, hour_open, hour_close)
                    ends_ns = min(ends_ns, hour_close)
                _fold_span(hours[i], bar)
            else:
                is_clear = False
            if source.timeframe <= 1:
                if days[i].valid and days[i].ts_close <= source.ts_open:
                    _close_span(days[i], bars[2, i])  # the last hour of that day is missing
                    is_clear = False
                if days[i].valid == 0:
                    _begin_span(days[i], bar, windows[w].day_open_ns, windows[w].day_close_ns)
                    ends_ns = min(ends_ns, windows[w].day_close_ns)
                _fold_span(days[i], bar)
        if ts_close >= ends_ns:
            ends_ns = FOREVER_NS
            is_clear = False
            for i in range(n):
                if hours[i].valid and hours[i].ts_close <= ts_close:
                    _close_span(hours[i], bars[1, i])
                if days[i].valid and days[i].ts_close <= ts_close and bars[2, i].valid == 0:
                    _close_span(days[i], bars[2, i])
                if hours[i].valid:
                    ends_ns = min(ends_ns, hours[i].ts_close)
                if days[i].valid:
                    ends_ns = min(ends_ns, days[i].ts_close)

        if at.in_session:
            at.trade_date = at.open_date
            at.utc_offset = at.open_offset
        else:
            day = ts_open // DAY_NS
            at.trade_date = labels[day] if ts_open < turns[day] else labels[day + 1]
            at.utc_offset = EVENING_NS - turns[day] % DAY_NS
        mark[0].ts_close = ts_close
        mark[0].trade_date = at.trade_date
        mark[0].utc_offset = at.utc_offset
        mark[0].gap = 0
        mark[0].warming = 0

        n_outcomes = 0
        if len(recorded) > 0:
            while at.outcome < len(recorded) and recorded[at.outcome].ts_applied <= ts_close:
                outcomes[n_outcomes] = recorded[at.outcome].outcome
                n_outcomes += 1
                at.outcome += 1
        else:
            n_outcomes = at.n_pending
        step(
            limits,
            instruments,
            params,
            links,
            filters,
            vetoes,
            veto_inputs,
            nodes,
            entry_windows,
            no_entry,
            account,
            positions,
            slots,
            values,
            numbers,
            held,
            mark,
            sessions,
            bars,
            rolls,
            outcomes,
            n_outcomes,
            intents,
            trades,
            reasons,
            scores,
            out,
        )
        done += 1

        n_intents = out[0].n_intents
        for k in range(n_intents):
            outcomes[k].instrument = intents[k].instrument
            outcomes[k].role = intents[k].role
            outcomes[k].ts_mark = ts_close
            outcomes[k].kind = OutcomeKind.ACKNOWLEDGED
            outcomes[k].ts = ts_close
            at.digest = _mix(at.digest, ts_close)
            for field in range(intent_words.shape[1]):
                at.digest = _mix(at.digest, intent_words[k, field])
        at.n_pending = n_intents
        for i in range(n):
            if reasons[i] != 0:
                at.digest = _mix(_mix(at.digest, ts_close), i * 64 + reasons[i])
                at.decisions += 1
        for k in range(out[0].n_trades):
            if at.n_trades < len(found_trades):
                found_trades[at.n_trades] = trades[k]
            at.n_trades += 1
        if (ts_close % HOUR_NS == 0 or ts_close == at.closes_ns) and not math.isnan(account[0].equity):
            if at.n_equity < len(equity):
                equity[at.n_equity].ts = ts_close
                equity[at.n_equity].equity_usd = account[0].equity
                equity[at.n_equity].trade_date = at.trade_date
            at.n_equity += 1
        ts_open = ts_close
    at.ts_ns = ts_open
    return done
