"""`rooney portfolio`: which of a strategy's instruments to trade, chosen on training paths and judged on held-out ones.

Trades are those of the strategy with nothing but rules and filters to hold an entry back; the limit of positions is
applied to them by `research.optimize.slots`. Greedy: of the instruments not yet chosen, the one that makes the Sharpe
ratio of the daily P&L largest, as long as it grows, the drawdown stays within its limit and there are fewer than
`max_instruments`. On every split of purged cross-validation this is done on what may be learned from; the choice is
followed on what is tested, and those pieces make the paths. Then it is done on the whole history that may be searched.
The period put away is run once, by the very step that trades, with its limits of positions and daily loss.

Models take no part: they were trained on these trades, and would be judged by what they know.

Baselines: `all` instruments in the same slots; `equal risk`, every instrument at once, weighted by one over the
deviation of its daily P&L on what may be learned from; `HRP`, weighted by skfolio's hierarchical risk parity, where
that is installed. Weights are fractions of contracts and mean 1.

`portfolio.json` holds a `Portfolio`; `read` decodes it. `instruments` are those to trade: those chosen if they are
confirmed, else none, and `reasons` say why.
"""

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from research.backtest import metrics
from research.backtest.backtest import Scan
from research.history.history import History
from research.history.progress import Steps, unwatched
from research.optimize import result_file as searchfile
from research.optimize.result_file import Found
from research.optimize.slots import admitted_usd
from research.optimize.trials import Folds, Part, Runs, curve, date_of, parts, per_year
from research.validation import cpcv
from research.validation import sharpe as selection
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine
from rooney.format import iso
from rooney.kernels.array_types import F64, I64, Booleans, Records
from rooney.performance.measures import YEAR

FORMAT = 1
ALL, EQUAL_RISK, HRP, SELECTION = "all", "equal risk", "HRP", "selection"


class Plan(Folds, frozen=True):
    """The choice and what must hold.

    max_drawdown_usd: of the daily P&L, on what is learned from; 0: a fifth of the starting cash
    min_trades:       of an instrument, on what is learned from, to be chosen
    min_final_trades: of the selection, in the final period; min_final_sharpe: probability of a profit in it
    """

    max_instruments: int = 9
    max_drawdown_usd: float = 0.0
    min_trades: int = 30
    min_final_trades: int = 50
    min_final_sharpe: float = 0.8


class Step(msgspec.Struct, frozen=True):
    """An instrument added. sharpe: per year, with those before it; drawdown_usd: likewise."""

    symbol: str
    sharpe: float
    drawdown_usd: float


class Way(msgspec.Struct, frozen=True):
    """A way to choose. Sharpe ratios per year; of the paths their mean and least. None where there is none."""

    path_sharpe: float | None
    path_sharpe_worst: float | None
    final_sharpe: float | None
    final_pnl_usd: float
    final_drawdown_usd: float


class Member(Part, frozen=True):
    """An instrument alone. frequency: share of the splits that chose it."""

    chosen: bool
    frequency: float


class Portfolio(Found, frozen=True, kw_only=True):
    """`portfolio.json`.

    instruments: to trade; empty unless confirmed; selected: what the choice came to
    steps:       in which order, and what each made of it
    ways:        the selection and its baselines
    curve:       of the selection and of all instruments, over the final period
    """

    selected: list[str]
    plan: Plan
    steps: list[Step]
    ways: dict[str, Way]
    members: dict[str, Member]


def read(path: Path) -> Portfolio:
    """Raises ConfigError for a file that is none, or of a newer version."""
    return searchfile.read(path, Portfolio, "rooney portfolio", FORMAT)


class Trades:
    """Trades of all instruments in order, to be put into slots.

    start_ns, end_ns, who, usd, row: arrays by trade; row: of its trade date
    """

    def __init__(self, records: Records, rows: I64, max_positions: int) -> None:
        order = np.lexsort((records["instrument"], records["entry_mark"]))
        order = order[rows[order] >= 0]
        self.who = records["instrument"][order].astype(np.int64)
        self.row = rows[order]
        self.usd = records["pnl_usd"][order].astype(np.float64)
        self.start_ns = records["entry_mark"][order].astype(np.int64)
        self.end_ns = records["exit_ts"][order].astype(np.int64)
        self.max_positions = max_positions

    def daily(self, n_days: int, allowed: Booleans, chosen: Booleans) -> F64:
        """float64[date]: P&L of the chosen instruments' trades on the allowed dates that find a slot.

        allowed: bool[date]; chosen: bool[instrument]
        """
        found = np.zeros(n_days)
        admitted_usd(
            self.start_ns,
            self.end_ns,
            self.who,
            self.usd,
            self.row,
            allowed[self.row],
            chosen,
            self.max_positions,
            found,
        )
        return found


def greedy(trades: Trades, n_days: int, rows: I64, n: int, plan: Plan) -> list[tuple[int, float, float]]:
    """Instruments in the order they are added, with Sharpe ratio (per day) and drawdown (USD) of all so far.

    rows: of the dates it may know; n: how many instruments there are
    """
    allowed = np.zeros(n_days, bool)
    allowed[rows] = True
    counts = np.bincount(trades.who[allowed[trades.row]], minlength=n)
    left = [i for i in range(n) if counts[i] >= plan.min_trades]
    chosen, best = np.zeros(n, bool), 0.0
    found: list[tuple[int, float, float]] = []
    while left and len(found) < plan.max_instruments:
        tried = []
        for i in left:
            chosen[i] = True
            daily = trades.daily(n_days, allowed, chosen)[rows]
            chosen[i] = False
            fall = metrics.max_drawdown(np.concatenate(([0.0], np.cumsum(daily))))[0]
            ratio = selection.sharpe(daily)
            if fall <= plan.max_drawdown_usd and not math.isnan(ratio):
                tried.append((ratio, -i, fall))
        if not tried or max(tried)[0] <= best:
            break
        best, at, fall = max(tried)
        chosen[-at] = True
        left.remove(-at)
        found.append((-at, best, fall))
    return found


def weights(daily: F64, how: str) -> F64:
    """Weight of each instrument, with mean 1; 0 for one without any P&L. daily: float64[date, instrument]"""
    spread = np.std(daily, axis=0)
    active = np.flatnonzero(spread > 0)
    found = np.zeros(daily.shape[1])
    if not len(active):
        return found
    if how == HRP and len(active) > 1:
        from skfolio.optimization import HierarchicalRiskParity

        given = HierarchicalRiskParity().fit(daily[:, active]).weights_
    else:
        given = 1.0 / spread[active]
    found[active] = given / np.mean(given)
    return found


def choose(strategy: StrategyConfig, history: History, plan: Plan, progress: Steps = unwatched) -> Portfolio:
    """Choose and judge. history: of the strategy's instruments; progress: called with the share that is done"""
    if not plan.max_drawdown_usd:
        plan = msgspec.structs.replace(plan, max_drawdown_usd=0.2 * strategy.settings.starting_cash)
    runs = Runs(strategy, history, {}, plan)
    symbols = list(strategy.traded)
    n, n_days = len(symbols), len(runs.days)
    records = runs.trades({}, runs.history.end_ns + 1)
    known = records[records["exit_ts"] < runs.cut_ns]
    daily = runs.days.usd(known, n)
    trades = Trades(known, runs.days.rows(known["entry_mark"]), strategy.settings.max_positions)
    found = cpcv.splits(
        runs.days.start_ns, runs.days.end_ns(known), plan.n_groups, plan.n_test, int(plan.embargo_s * 1e9)
    )
    hows = [EQUAL_RISK, *([HRP] if find_spec("skfolio") else [])]
    tested: dict[str, list[F64]] = {how: [] for how in (SELECTION, ALL, *hows)}
    counts = np.zeros(n)
    for k, split in enumerate(found):
        own = np.zeros(n, bool)
        own[[i for i, _, _ in greedy(trades, n_days, split.train, n, plan)]] = True
        counts += own
        allowed = np.zeros(n_days, bool)
        allowed[np.concatenate(split.tests)] = True
        tested[SELECTION].append(trades.daily(n_days, allowed, own))
        tested[ALL].append(trades.daily(n_days, allowed, np.ones(n, bool)))
        for how in hows:
            tested[how].append(daily @ weights(daily[split.train], how))
        progress((k + 1) / (len(found) + 1))
    steps = greedy(trades, n_days, np.arange(n_days), n, plan)
    chosen = sorted(i for i, _, _ in steps)
    everything = runs.all_days.usd(records, n)
    final = {ALL: _final(strategy, runs, symbols), SELECTION: _final(strategy, runs, [symbols[i] for i in chosen])}
    lines = {how: line for how, (line, _) in final.items()}
    lines |= {how: everything[n_days:] @ weights(daily, how) for how in hows}
    paths = {how: _path_sharpes(plan, n_days, series) for how, series in tested.items()}
    ways = {how: _way(paths[how], lines[how]) for how in (SELECTION, ALL, *hows)}
    n_final = final[SELECTION][1]
    facts = {
        "splits": float(len(found)),
        "paths": float(len(paths[SELECTION])),
        "path_share": float(np.mean(np.array(paths[SELECTION]) > 0)),
        "trade_dates": float(n_days),
        "final_trade_dates": float(len(runs.all_days) - n_days),
        "final_trades": float(n_final),
        "final_sharpe_probability": selection.probabilistic_sharpe(lines[SELECTION]),
    }
    reasons = _reasons(ways[SELECTION], facts, plan, bool(chosen))
    picked = [symbols[i] for i in chosen]
    frequency = (counts / len(found)).tolist()
    progress(1.0)
    return Portfolio(
        format=FORMAT,
        strategy=strategy.name,
        confirmed=not reasons,
        reasons=reasons,
        instruments=[] if reasons else picked,
        selected=picked,
        strategy_params=dict(strategy.settings.strategy_params),
        plan=plan,
        steps=[Step(symbols[i], ratio * YEAR, fall) for i, ratio, fall in steps],
        ways=ways,
        members={
            symbol: Member(**msgspec.structs.asdict(part), chosen=symbol in picked, frequency=share)
            for (symbol, part), share in zip(parts(runs, records, everything).items(), frequency, strict=True)
        },
        without_bars=[symbol for symbol in history.missing if symbol in strategy.traded],
        measures={key: None if math.isnan(value) else value for key, value in facts.items()},
        curve=curve(runs.all_days.dates[n_days:], np.cumsum(lines[SELECTION]), np.cumsum(lines[ALL])),
        data_sha256=history.digest(),
        span=(iso(history.start_ns), iso(history.end_ns)),
        final_from=date_of(runs.all_days.dates[n_days]),
        closes_only=history.closes_only,
        findings=history.findings,
    )


def _final(strategy: StrategyConfig, runs: Runs, symbols: Sequence[str]) -> tuple[F64, int]:
    """P&L by date of the final period and its trades, of some instruments with the limits they would trade under.

    Cash is no limit, and the drawdown halt is off: what was lost before the period would otherwise decide in it.
    """
    n = len(runs.days)
    if not symbols:
        return np.zeros(len(runs.all_days) - n), 0
    free = runs.strategy.settings
    settings = msgspec.structs.replace(
        strategy.settings, starting_cash=free.starting_cash, drawdown_halt=None, instruments=tuple(symbols)
    )
    traded = {symbol: strategy.traded[symbol] for symbol in symbols}
    engine = build_engine(msgspec.structs.replace(strategy, settings=settings, traded=traded), {}, {})
    given = runs.history
    history = History(given.path, [each.symbol for each in engine.instruments], *given.span)
    scan = Scan(engine, history)
    for chunk in history.chunks():
        scan.step(chunk)
    closed = scan.closed()
    late = closed[closed["entry_mark"] >= runs.cut_ns]
    return runs.all_days.usd(late)[n:, 0], len(late)


def _path_sharpes(plan: Plan, n_days: int, tested: Sequence[F64]) -> list[float]:
    """Per year, of each path. tested: by split, P&L by date; read where the split tests"""
    groups = cpcv.groups_of(n_days, plan.n_groups)
    found = []
    for path in cpcv.path_splits(plan.n_groups, plan.n_test):
        line = np.concatenate([tested[split][groups[group]] for group, split in enumerate(path.tolist())])
        ratio = selection.sharpe(line)
        found.append(0.0 if math.isnan(ratio) else ratio * YEAR)  # nothing chosen: nothing earned
    return found


def _way(paths: Sequence[float], final: F64) -> Way:
    fall = metrics.max_drawdown(np.concatenate(([0.0], np.cumsum(final))))[0]
    return Way(float(np.mean(paths)), float(np.min(paths)), per_year(final), float(final.sum()), fall)


def _reasons(way: Way, facts: Mapping[str, Any], plan: Plan, is_any: bool) -> list[str]:
    """Reasons why the selection is not confirmed; none if it is. NaN holds nothing."""
    if not is_any:
        return ["no instrument earned on the history that may be searched, within the drawdown allowed"]
    judged = [
        ((way.path_sharpe or 0.0) > 0, f"mean Sharpe ratio of the held-out paths {way.path_sharpe or 0.0:.2f}"),
        (
            facts["final_trades"] >= plan.min_final_trades,
            f"{facts['final_trades']:.0f} trades in the final period (least {plan.min_final_trades})",
        ),
        (way.final_pnl_usd > 0, f"the final period lost {-way.final_pnl_usd:,.0f} USD"),
        (
            facts["final_sharpe_probability"] >= plan.min_final_sharpe,
            f"the final period confirms a profit with probability {facts['final_sharpe_probability']:.2f} (least "
            f"{plan.min_final_sharpe})",
        ),
    ]
    return [reason for holds, reason in judged if not holds]
