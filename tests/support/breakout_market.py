"""A market of hourly closes, made up, in which breakouts pay or do not; and the strategy that trades it."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from research.history.sessions import session_windows, to_ns
from rooney.config.loader import load_config
from rooney.config.settings import StrategyConfig
from rooney.market.instruments import PRODUCTS, group_of
from rooney.market.sessions import HOUR_NS
from tests.support.paths import CONFIG

CONFIG = str(CONFIG)


def write_closes(
    folder: Path, trends: dict[str, float], years: float = 1.0, seed: int = 0, flip_from: float = 1.0
) -> Path:
    """closes.parquet of some roots.

    trends: root → drift of an hour in deviations of its noise; its sign changes at random, every fifty hours or so
    flip_from: share of the hours after which prices are noise whatever the trend
    """
    start_ns = to_ns(datetime(2021, 1, 11, tzinfo=UTC))
    end_ns = start_ns + int(years * 365 * 24) * HOUR_NS
    parts = []
    for k, (root, trend) in enumerate(trends.items()):
        windows = session_windows(group_of(root), start_ns, end_ns)
        hours = [np.arange(o, c, HOUR_NS) for o, c in zip(windows.open_ns, windows.close_ns, strict=True)]
        ts = np.concatenate([part[part % HOUR_NS == 0] for part in hours])
        rng = np.random.default_rng([seed, k])
        sign = np.where(np.cumsum(rng.random(len(ts)) < 0.02) % 2, 1.0, -1.0)
        drift = np.where(np.arange(len(ts)) < flip_from * len(ts), trend, 0.0)
        ticks = 40_000 + np.cumsum(np.rint(20 * (rng.normal(size=len(ts)) + sign * drift)))
        close = ticks * PRODUCTS[root].tick_size
        parts.append(
            pl.DataFrame({"ts_open": pl.Series(ts).cast(pl.Datetime("ns", "UTC")), "root": root, "close": close})
        )
    folder.mkdir(parents=True, exist_ok=True)
    pl.concat(parts).write_parquet(folder / "closes.parquet")
    return folder / "closes.parquet"


def breakout(*roots: str) -> StrategyConfig:
    """Breakout over some roots."""
    return load_config(CONFIG, [f"strategies.breakout.instruments=[{','.join(roots)}]"]).strategy("breakout")
