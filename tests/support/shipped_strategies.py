"""Strategies of the shipped configuration."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from research.backtest import golden
from rooney.config.loader import load_config
from rooney.config.settings import StrategyConfig
from tests.support.paths import ROOT

ROOTS = ["CL", "ES", "ZC"]


def configured(name: str, roots: Sequence[str] = ROOTS) -> StrategyConfig:
    """What the configuration says of a strategy file, or nothing, on some instruments."""
    every = golden.strategies_of(load_config(ROOT / "config.multi_alpha.yml"))
    strategy = next(one for one in every if Path(one.strategy).stem == name)
    traded = {root: strategy.instruments[root] for root in roots}
    return msgspec.structs.replace(strategy, traded=traded)
