"""`rooney backtest NAME --verify`: two ways in which a backtest can lie, tried on a strategy and its data.

Look-ahead: history that ends at some instant is stepped beside the whole of it. What is decided before that instant
must be the same, by the digest of every decision: whatever differs has read the future, be it a feature, the choice of
the contract, or data that was adjusted later.

Warm-up: a second engine, blank, begins in the middle of history as a worker does on a fresh start
(`research.backtest.warm_start`), with as many bars as a worker loads, and takes over account and positions. Everything
it decides from there on must be what the one that has seen all of history decides; a stop may differ in its last
digits. How many bars are enough is found by trying fewer.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from research.backtest.backtest import Scan
from research.backtest.warm_start import Walk, history_bars, warm_start
from research.history.history import History
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine
from rooney.engine.engine import Engine
from rooney.format import price_text
from rooney.market.sessions import MINUTE_NS
from rooney.market.timeframes import TIMEFRAMES
from rooney.orders.decisions import Book, Decisions
from rooney.performance.pairs import first_difference

CUTS = (0.23, 0.41, 0.62, 0.88)  # of the span at which history is ended
STARTS = (0.7, 0.8, 0.9)  # at which a second engine begins
TOLERANCE = 1e-9  # relative, of a feature that knows less history

HistoryUntil = Callable[[datetime | None], History]


class MarkDifference(msgspec.Struct, frozen=True):
    """The first mark that decided otherwise, UTC ns, as `whole` with all history and as `part` with some of it."""

    ts_mark: int
    whole: str
    part: str


class LookAhead(msgspec.Struct, frozen=True):
    """cuts: instants at which history was ended, UTC ns; differences: cut → what was decided otherwise before it.

    decisions: how many were compared at the last cut
    """

    cuts: list[int]
    decisions: int
    differences: dict[int, MarkDifference]


class WarmUp(msgspec.Struct, frozen=True):
    """Needs of a start in the middle of history.

    starts:      instants at which it was tried, UTC ns; sessions: whole ones before the first of them
    loaded:      timeframe → bars a worker warms up with
    features:    name → fewest bars of each timeframe from which on its value is that of the whole history; None: not
                 even as many as a worker loads
    decisions:   fewest bars from which on every later decision is the same; None: not even as many as a worker loads
    differences: start → the first decision that differs when warmed up as a worker is
    """

    starts: list[int]
    sessions: int
    loaded: dict[str, int]
    features: dict[str, int | None]
    decisions: int | None
    differences: dict[int, MarkDifference]


def look_ahead(strategy: StrategyConfig, history_until: HistoryUntil, cuts: Sequence[float] = CUTS) -> LookAhead:
    """End history at shares of its span; nothing decided before may change.

    history_until: history whose bars open before an instant, None: all of it
    """
    whole = history_until(None)
    ends = [_minute(whole, share) for share in cuts]
    walk, wanted = _begin(strategy, whole), []
    for end_ns in ends:
        walk.on(end_ns)
        wanted.append((walk.scan.digest, walk.scan.decisions))
    differences = {}
    for end_ns, (digest, _) in zip(ends, wanted, strict=True):
        part = history_until(datetime.fromtimestamp(end_ns // 1_000_000_000, UTC))
        walk = _begin(strategy, part)
        walk.on(end_ns)
        if walk.scan.digest != digest:
            found = _first(_begin(strategy, whole), _begin(strategy, part), end_ns)
            differences[end_ns] = found or MarkDifference(end_ns, "prices of orders", "other last digits of them")
    return LookAhead(ends, wanted[-1][1], differences)


def warm_up(
    strategy: StrategyConfig, history: History, starts: Sequence[float] = STARTS, bars: int | None = None
) -> WarmUp:
    """Begin at shares of the history's span.

    bars: of each timeframe to warm up with at most; None: as many as a worker
    """
    given = history_bars(build_engine(strategy))
    loaded = given if bars is None else tuple(min(count, bars) for count in given)
    features: dict[str, list[int | None]] = {}
    decisions: list[int | None] = []
    differences, begun = {}, []
    for share in starts:
        whole = _begin(strategy, history)
        whole.on(_minute(history, share))
        while whole.scan.is_waiting:
            whole.on(whole.at_ns + MINUTE_NS)
        start_ns, book, values = whole.at_ns, whole.engine.book(), _values(whole.engine)
        begun.append(start_ns)
        whole.scan.forget()
        whole.on(history.end_ns)
        enough: dict[str, int | None] = dict.fromkeys(values)
        same: int | None = None
        difference: MarkDifference | None = None
        for count in _ladder(max(loaded)):
            counts = tuple(min(count, most) for most in loaded)
            part = _begin_warm(strategy, history, start_ns, counts, book)
            for name, value in _values(part.engine).items():
                agrees = all(map(_is_close, value, values[name]))
                enough[name] = (enough[name] or count) if agrees else None
            part.on(history.end_ns)
            difference = None
            if part.scan.digest != whole.scan.digest:  # be it in the last digits of a stop
                again = _begin(strategy, history)
                again.on(start_ns)
                difference = _first(again, _begin_warm(strategy, history, start_ns, counts, book), history.end_ns)
            same = (same or count) if difference is None else None
        if difference is not None:
            differences[start_ns] = difference
        for name, least in enough.items():
            features.setdefault(name, []).append(least)
        decisions.append(same)
    days = [windows.trade_date[windows.day_close_ns <= begun[0]] for windows in history.windows().values()]
    return WarmUp(
        begun,
        min(len(set(found.tolist())) for found in days),
        dict(zip(TIMEFRAMES, loaded, strict=True)),
        {name: _worst(found) for name, found in features.items()},
        _worst(decisions),
        differences,
    )


def _begin(strategy: StrategyConfig, history: History) -> Walk:
    engine = build_engine(strategy)
    return Walk(engine, Scan(engine, history), history.chunks(), history.start_ns - history.start_ns % MINUTE_NS)


def _begin_warm(strategy: StrategyConfig, history: History, start_ns: int, counts: tuple[int, ...], book: Book) -> Walk:
    engine = build_engine(strategy)
    walk = warm_start(Scan(engine, history), engine, history, start_ns, counts)
    engine.keep(book)
    return walk


def _minute(history: History, share: float) -> int:
    """A minute's end at a share of the span, UTC ns."""
    minutes: int = math.floor((history.end_ns - history.start_ns) / MINUTE_NS * share)
    return int(history.start_ns) // MINUTE_NS * MINUTE_NS + minutes * MINUTE_NS


def _ladder(most: int) -> list[int]:
    """1, 2, 4, … below `most`, then `most`."""
    below = [2**k for k in range(most.bit_length()) if 2**k < most]
    return [*below, most]


def _values(engine: Engine) -> dict[str, list[float]]:
    """Feature → its value in every traded instrument; those without a name of the strategy's or a filter's left out."""
    fields = engine.compiled.layout.fields[: len(engine.compiled.layout.names)]
    rows = [engine.values(item.symbol).tolist() for item in engine.instruments if item.traded]
    return {name: [row[k] for row in rows] for k, name in enumerate(fields)}


def _is_close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE) or (math.isnan(a) and math.isnan(b))


def _worst(found: Iterable[int | None]) -> int | None:
    counts = list(found)
    return None if None in counts else max(count for count in counts if count is not None)


def _first(whole: Walk, part: Walk, until_ns: int) -> MarkDifference | None:
    """The first mark at which two walks decide otherwise, if there is one; prices may differ in their last digits."""
    parted = first_difference(whole.marks(until_ns), part.marks(until_ns), lambda a, b: _told(a, b) == _told(b, a))
    if parted is None:
        return None
    _, a, b = parted
    return MarkDifference(max(mark.ts_mark for mark in (a, b) if mark is not None), _told(a, b), _told(b, a))


def _told(one: Decisions | None, other: Decisions | None) -> str:
    """Decisions of a mark that the other did not take, in words."""
    if one is None:
        return "no such mark"
    told = [f"{i.role.name.lower()} {i.symbol} at {price_text(i.price)}: {i.cause.name.lower()}" for i in one.intents]
    theirs = {e.symbol: e for e in other.evaluated} if other is not None else {}
    for each in one.evaluated:
        if (against := theirs.get(each.symbol)) is None or against.reason != each.reason:
            values = ", ".join(f"{name} {value:.17g}" for name, value in each.features.items())
            told.append(f"{each.symbol} {each.reason.name.lower()} ({values})")
    return "; ".join(told) or "nothing"
