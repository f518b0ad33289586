"""Several strategies together: curves, correlation, exposure, and how much more capital each would take. Pure.

combined     sums of daily P&L over all trade dates; Sharpe, drawdown as in rooney.performance.measures
exposure     share of time with a position open, and how many; Sunday evening to Friday afternoon counts as time
capacity     participation: contracts of the newest trade / median contracts traded in a recent minute; an order's own
             impact grows with the square root of it (J.-P. Bouchaud et al., Trades, Quotes and Prices, 2018), and 1 %
             is taken as where it begins to matter
slippage     real fills against assumed ones, ticks a side, from what `rooney reconcile --apply` put into the cash: of
             all instruments of a strategy together, since the ledger holds the sum
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise

import msgspec

from rooney.ledger.records import TradeRow
from rooney.ledger.snapshot import Snapshot
from rooney.market import sessions
from rooney.market.sessions import trade_date
from rooney.monitor.system import System
from rooney.performance.measures import daily, falls, sharpe

PARTICIPATION_LIMIT = 0.01
MIN_FILLS = 10


class Combined(msgspec.Struct, frozen=True):
    """All strategies as one. NaN where there is too little to say it."""

    days: int
    pnl_usd: float
    sharpe: float
    max_drawdown_usd: float
    drawdown_usd: float
    positions_now: int
    positions_mean: float
    positions_most: int
    exposure: float


class Capacity(msgspec.Struct, frozen=True):
    """An instrument of a strategy. size: contracts of its newest trade; minute_volume: median of recent minutes.

    participation: size / minute_volume; room: contracts at which it would reach the limit
    slip_ticks: real against assumed fills, a side, + is worse; NaN without reconciled fills
    """

    strategy: str
    symbol: str
    trades: int
    size: int
    minute_volume: float
    participation: float
    room: float
    assumed_ticks: float
    slip_ticks: float

    @property
    def warning(self) -> str:
        """Reason why more capital would cost here; empty if nothing says so."""
        said = []
        if self.participation > PARTICIPATION_LIMIT:
            said.append(f"its size is {self.participation:.1%} of a minute's volume: it moves its own price")
        elif math.isfinite(self.room) and self.room < 2 * self.size:
            said.append(f"twice the size would be {2 * self.participation:.1%} of a minute's volume")
        if self.slip_ticks > 0.5 and self.slip_ticks > 0.5 * self.assumed_ticks:
            said.append(f"fills are {self.slip_ticks:+.2f} ticks a side worse than the {self.assumed_ticks:g} assumed")
        return "; ".join(said)


def sum_days(days: Sequence[Mapping[date, float]]) -> dict[date, float]:
    """Trade date → P&L of all, from the first one on."""
    found: dict[date, float] = {}
    for one in days:
        for day, usd in one.items():
            found[day] = found.get(day, 0.0) + usd
    return dict(sorted(found.items()))


def combined(system: System) -> Combined:
    """All strategies of a system, each from its first trade to its last finished minute."""
    snapshots = [one.snapshot for one in system.strategies if one.snapshot is not None]
    return combine(snapshots, [daily(one, trade_date(one.ts_mark - 1) if one.ts_mark else None) for one in snapshots])


def capacities(system: System) -> list[Capacity]:
    """Capacity of each strategy in what it traded, by the volume of the last minutes."""
    volumes = {symbol: quote.volumes for symbol, quote in system.market.quotes.items()}
    return [
        item
        for one in system.strategies
        if one.snapshot is not None
        for item in capacity(one.snapshot, volumes, one.traded, one.slippage_ticks)
    ]


def combine(snapshots: Sequence[Snapshot], days: Sequence[Mapping[date, float]]) -> Combined:
    """days: daily P&L of each snapshot's strategy."""
    summed = list(sum_days(days).values())
    depths = falls(summed) or [(0.0, 0.0)]
    (total, drawdown), worst = depths[-1], max(fall for _, fall in depths)
    spans = [(t.entry_ts, t.exit_ts) for one in snapshots for t in one.trades]
    end_ns = max((one.ts_mark for one in snapshots), default=0)
    spans += [(held.entry_ts, end_ns) for one in snapshots for held in one.open]
    mean, most, share = exposure(spans)
    now = sum(len(one.open) for one in snapshots)
    return Combined(len(summed), total, sharpe(summed), worst, drawdown, now, mean, most, share)


def exposure(spans: Sequence[tuple[int, int]]) -> tuple[float, int, float]:
    """(mean number of open positions, most at once, share of time with any), from the first entry to the last exit.

    Weekends between Friday's close and Sunday's open are no time. NaN without a position.
    """
    if not spans:
        return math.nan, 0, math.nan
    steps: dict[int, int] = {}
    for begin_ns, end_ns in spans:
        steps[begin_ns] = steps.get(begin_ns, 0) + 1
        steps[end_ns] = steps.get(end_ns, 0) - 1
    times = sorted(steps)
    held = weighted = busy = 0
    most = 0
    for at_ns, next_ns in pairwise(times):
        held += steps[at_ns]
        most = max(most, held)
        length_ns = _open_ns(at_ns, next_ns)
        weighted += held * length_ns
        busy += length_ns if held else 0
    whole_ns = _open_ns(times[0], times[-1])
    return (weighted / whole_ns, most, busy / whole_ns) if whole_ns else (float(most), most, 1.0)


_WEEK_NS = 7 * 24 * sessions.HOUR_NS
_FRIDAY_NS = (1 * 24 + 22) * sessions.HOUR_NS  # 1970-01-02 22:00 UTC, a Friday: weekends last 48 hours from here


def _open_ns(begin_ns: int, end_ns: int) -> int:
    """Time between two instants without weekends (Friday 22:00 to Sunday 22:00 UTC)."""

    def until(ts_ns: int) -> int:
        weeks, rest = divmod(ts_ns - _FRIDAY_NS, _WEEK_NS)
        weekend_ns = 48 * sessions.HOUR_NS
        return weeks * (_WEEK_NS - weekend_ns) + max(0, rest - weekend_ns)

    return until(end_ns) - until(begin_ns)


def capacity(
    snapshot: Snapshot,
    volumes: Mapping[str, Sequence[int]],
    traded: Mapping[str, tuple[float, float]],
    assumed_ticks: Mapping[str, float],
) -> list[Capacity]:
    """Each instrument that was traded.

    volumes: contracts traded in recent minutes, by symbol; traded: (USD per 1.0 of price, tick size) of what is ordered
    """
    by_symbol: dict[str, list[TradeRow]] = {}
    for trade in snapshot.trades:
        by_symbol.setdefault(trade.symbol, []).append(trade)
    found = []
    slip = _slip_ticks(snapshot, traded)
    for symbol, trades in sorted(by_symbol.items()):
        recent = sorted(volumes.get(symbol, ()))
        volume = float(recent[len(recent) // 2]) if len(recent) >= MIN_FILLS else math.nan
        size = trades[-1].quantity
        share = size / volume if volume > 0 else math.nan
        room = PARTICIPATION_LIMIT * volume
        ticks = assumed_ticks.get(symbol, math.nan)
        found.append(Capacity(snapshot.name, symbol, len(trades), size, volume, share, room, ticks, slip))
    return found


def _slip_ticks(snapshot: Snapshot, traded: Mapping[str, tuple[float, float]]) -> float:
    """Ticks a side by which real fills were worse, over all instruments: the ledger keeps corrections as sums."""
    if not snapshot.cash_acts or not snapshot.trades:
        return math.nan
    last_ns = max(ts for ts, _ in snapshot.cash_acts)
    a_tick_usd = sum(
        2 * trade.quantity * value * tick
        for trade in snapshot.trades
        if trade.exit_ts <= last_ns
        for value, tick in [traded.get(trade.symbol, (0.0, 0.0))]
    )
    return -sum(usd for _, usd in snapshot.cash_acts) / a_tick_usd if a_tick_usd > 0 else math.nan
