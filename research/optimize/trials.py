"""The compiled backtest again and again, with other parameters, over a history of which the last part is put away."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from research.backtest.backtest import Scan
from research.history.history import History
from research.models.dataset import unlimited
from research.validation import cpcv
from research.validation.daily_pnl import days_of
from rooney.config.settings import StrategyConfig
from rooney.config.validation import Scalar
from rooney.engine.build import build_engine, open_lengths
from rooney.errors import ConfigError
from rooney.kernels.array_types import F64, I64, Records
from rooney.performance.measures import ANNUAL_DAYS, sharpe

_POINTS = 600  # of a curve that is shown
_KEPT_BARS = 4_000_000  # a history up to so long stays in memory between runs


class Folds(msgspec.Struct, frozen=True):
    """Cuts of the trade dates.

    n_groups, n_test, embargo_s: of the cross-validation
    final_share: of the trade dates, put away; final_from: or all from this one on, ISO date
    """

    n_groups: int = 10
    n_test: int = 2
    embargo_s: float = 86_400.0
    final_share: float = 0.25
    final_from: str = ""


def with_params(strategy: StrategyConfig, values: Mapping[str, Scalar]) -> StrategyConfig:
    """The strategy with some other parameters, for every instrument that has none of its own."""
    params = {**strategy.settings.strategy_params, **values}
    return msgspec.structs.replace(
        strategy, settings=msgspec.structs.replace(strategy.settings, strategy_params=params)
    )


class Runs:
    """The compiled backtest, run again and again with other parameters.

    ranges:   of the parameters that will be other ones; {}: none
    days:     what may be searched; all_days: and the period put away, which begins at `cut_ns`
    """

    def __init__(
        self, strategy: StrategyConfig, history: History, ranges: Mapping[str, tuple[float, float]], folds: Folds
    ) -> None:
        settings = msgspec.structs.replace(strategy.settings, broker_account=None, paper_account=None)
        self.strategy = unlimited(msgspec.structs.replace(strategy, settings=settings))
        self.history, self.folds = history, folds
        self.most = open_lengths(self.strategy, ranges)
        self.all_days = days_of(history)
        n = int(len(self.all_days) * (1.0 - folds.final_share))
        if folds.final_from:
            n = int(np.searchsorted(self.all_days.dates, np.datetime64(folds.final_from, "D").astype(np.int64)))
        if n < max(folds.n_groups, ANNUAL_DAYS) or n == len(self.all_days):
            raise ConfigError(f"--data: {len(self.all_days)} trade dates are too few to search in and to put some away")
        self.days = self.all_days.take(0, n)
        self.cut_ns = int(self.all_days.start_ns[n])
        self._chunks = list(history.chunks()) if history.bars <= _KEPT_BARS else None
        ends = [int(group[-1]) + 1 for group in cpcv.groups_of(n, folds.n_groups)]
        self._ends_ns = [int(self.all_days.start_ns[end]) for end in ends]

    def trades(
        self,
        values: Mapping[str, Scalar],
        past_ns: int,
        at_group: Callable[[int, Records], None] | None = None,
    ) -> Records:
        """TRADE records of what was closed before an instant. at_group: called with what is closed after each group."""
        engine = build_engine(with_params(self.strategy, values), {}, {}, self.most)
        scan, group = Scan(engine, self.history), 0
        for chunk in self._chunks if self._chunks is not None else self.history.chunks():
            if int(chunk["ts_close"][-1]) >= past_ns:
                chunk = chunk[: np.searchsorted(chunk["ts_close"], past_ns)]
                if len(chunk):
                    scan.step(chunk)
                break
            scan.step(chunk)
            while at_group is not None and group < len(self._ends_ns) and chunk["ts_close"][-1] >= self._ends_ns[group]:
                at_group(group, scan.closed())
                group += 1
        return scan.closed()


class Part(msgspec.Struct, frozen=True):
    """Trades of an instrument, searched and in the final period. sharpe: per year, over all dates; None without any."""

    trades: int
    pnl_usd: float
    sharpe: float | None
    final_trades: int
    final_pnl_usd: float
    final_sharpe: float | None


def parts(runs: Runs, closed: Records, daily: F64) -> dict[str, Part]:
    """Part of each instrument. closed: TRADE records of all; daily: float64[date, instrument], their P&L by date"""
    found = {}
    n = len(runs.days)
    for i, symbol in enumerate(runs.strategy.traded):
        own = closed[closed["instrument"] == i]
        late = own["entry_mark"] >= runs.cut_ns
        pnl_usd, late_usd = (float(own["pnl_usd"][mask].sum()) for mask in (~late, late))
        found[symbol] = Part(
            int((~late).sum()), pnl_usd, per_year(daily[:n, i]), int(late.sum()), late_usd, per_year(daily[n:, i])
        )
    return found


def per_year(daily: F64) -> float | None:
    """Sharpe ratio of daily P&L, annualised; None where there is none."""
    ratio = sharpe(daily.tolist())
    return None if math.isnan(ratio) else ratio


def date_of(day: Any) -> str:
    """ISO date of days since 1970."""
    return str(np.datetime64(int(day), "D"))


def curve(dates: I64, first: F64, second: F64) -> list[tuple[str, float, float]]:
    """Trade date and two sums so far, USD: as many rows as a screen shows, always with the last one."""
    every = len(dates) // _POINTS + 1
    at = sorted({*range(0, len(dates), every), len(dates) - 1})
    return [(date_of(dates[i]), round(float(first[i]), 2), round(float(second[i]), 2)) for i in at]
