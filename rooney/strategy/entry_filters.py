"""The entry filters of a configured strategy: those of its file, as its block changes them."""

from typing import Any

import msgspec

from rooney.config.schema import FilterBlock
from rooney.config.settings import StrategyConfig
from rooney.errors import ConfigError, StrategyError
from rooney.features import KERNELS, Feature, catalogue, is_research_only
from rooney.strategy.base import Strategy
from rooney.strategy.filters import Filter


def entry_filters(strategy: StrategyConfig, cls: type[Strategy]) -> dict[str, Filter]:
    """The filters that are on: those of the strategy file as the configuration changes them, then the new ones."""
    found = {}
    blocks = strategy.settings.filters
    for name in dict.fromkeys((*cls.filters, *blocks)):
        if not name.isidentifier():
            raise ConfigError(f"{strategy.path}.filters.{name}: a filter's name is letters, digits and _; not starting")
        block = blocks.get(name, FilterBlock())
        if block.enabled:
            try:
                found[name] = _filter(block, cls.filters.get(name))
            except StrategyError as error:
                raise ConfigError(f"{strategy.path}.filters.{name}: {error}; not starting") from error
    return found


def _filter(block: FilterBlock, default: Filter | None) -> Filter:
    if block.feature is None and default is None:
        raise StrategyError("feature: expected the name of a feature, got nothing")
    if block.feature is not None or default is None:
        feature = _feature(block)
    else:
        feature = default.feature
    bounds: dict[str, Any] = {}
    for key in ("low", "high", "above", "below", "allowed", "missing"):
        given = getattr(block, key)
        if given is None and default is not None:
            given = getattr(default, key)
        if given is not None:
            bounds[key] = given
    return Filter(feature, **bounds)


def _feature(block: FilterBlock) -> Feature:
    """A kernel with its timeframe and length, or what the catalogue knows by that name, on the instrument named."""
    name = block.feature or ""
    if name not in KERNELS:
        return _of_catalogue(name, block)
    length = block.length or 1
    whole = int(length) if float(length).is_integer() else length
    return Feature(name, block.timeframe or "hourly", whole, symbol=block.symbol or "")


def _of_catalogue(name: str, block: FilterBlock) -> Feature:
    for key in ("timeframe", "length"):
        if getattr(block, key) is not None:
            raise StrategyError(f"{key}: {name} is of the catalogue, which says it; name a kernel to choose it")
    feature = catalogue(name)
    if is_research_only(feature):
        raise StrategyError(f"feature: {name} reads the future, so it exists in research only")
    if not block.symbol:
        return feature
    if feature.symbol:
        raise StrategyError(f"symbol: {name} is read from {feature.symbol}, so it cannot be from {block.symbol}")
    return msgspec.structs.replace(feature, symbol=block.symbol)
