"""Configuration → engine: the very one for worker, backtest and check."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from rooney.config.settings import Instrument, StrategyConfig
from rooney.engine.engine import Engine
from rooney.engine.model_checks import configured_vetoes
from rooney.engine.settings import STOP_ATR, EngineInstrument, Limits
from rooney.engine.veto import Veto, model_field
from rooney.errors import ConfigError, ModelError, StrategyError
from rooney.features import KERNELS, PAIRS, Feature, catalogue, is_research_only
from rooney.features.catalogue import FIRST_BAR_V1
from rooney.features.codegen import Layout, can_be_open
from rooney.market import sessions_v1 as oldclock
from rooney.market.instruments import group_of
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.models.forest import Model, path_of
from rooney.strategy.aot import DROP_IN, NotCompiledError
from rooney.strategy.base import Strategy
from rooney.strategy.compiler import compile_strategy
from rooney.strategy.entry_filters import entry_filters
from rooney.strategy.filters import filter_field
from rooney.strategy.loader import find, load

FIRST_BAR = "first_bar"  # as a length: number of the first bar that decides


def build_engine(
    strategy: StrategyConfig,
    more: Mapping[str, Feature] | None = None,
    vetoes: Mapping[str, Veto] | None = None,
    most: Mapping[str, int] | None = None,
) -> Engine:
    """Engine of a configured strategy: the very one for live and backtest.

    Traded instruments come first, in the block's order, then those whose data their features read.
    more: features beside those the strategy and its filters name; vetoes: models by symbol, default: those
    in its `models_path`; most: lengths left open, for a search over them (`rooney.features.codegen.lay_out`)
    """
    vetoes = configured_vetoes(strategy) if vetoes is None else vetoes
    cls = load(strategy.strategy)
    declared = {key: (param.default, param.low, param.high) for key, param in cls.declared().items()}
    params = strategy.params(declared)
    filters = entry_filters(strategy, cls)
    extra = {filter_field(name): item.feature for name, item in filters.items()} | _model_features(strategy, vetoes)
    own = {symbol: strategy.params(declared, symbol) for symbol in strategy.traded}
    if any(each[key] for each in own.values() for key in ("stop_atr", "target_atr", "trail_atr")):
        extra[STOP_ATR] = Feature("atr", cls.timeframe, "stop_atr_bars")
    if taken := sorted(extra.keys() & cls.features.keys()):
        raise StrategyError(
            f"{find(strategy.strategy)}: features: {', '.join(taken)} would be hidden by the feature of that name that "
            "stops, filters or models read; choose another name"
        )
    extra |= dict(more or {})
    _check_lengths(strategy, cls, {**cls.features, **extra}, params, own)
    limits = _limits(strategy, cls)
    try:
        known = params | {FIRST_BAR: max(1, limits.warm_up_bars)}
        compiled = compile_strategy(strategy.strategy, known, extra, most=most)
    except NotCompiledError as error:
        again = (
            f"`rooney compile {strategy.name}` makes it; without the drop-in {DROP_IN} the worker compiles it itself"
        )
        raise ConfigError(f"{strategy.path}: {error}. Not starting: {again}") from error
    instruments = [
        _instrument(symbol, item, own[symbol], strategy, traded=True) for symbol, item in strategy.traded.items()
    ]
    instruments += [
        _instrument(symbol, strategy.instruments[symbol], params, strategy, traded=False)
        for symbol in _read(strategy, compiled.layout)
    ]
    return Engine(compiled, instruments, limits, filters, vetoes)


def _model_features(strategy: StrategyConfig, vetoes: Mapping[str, Veto]) -> dict[str, Feature]:
    """The features of all models together, by field and in the order of their names: equal sets compile once."""
    found = {}
    for symbol, model in vetoes.items():
        if not isinstance(model, Model):
            continue
        for name in model.features:
            where = f"{path_of(strategy.models_path or Path(), symbol)}: reads {name!r}"
            try:
                feature = catalogue(name)
            except StrategyError as error:
                raise ModelError(f"{where}, which this version does not know: {error}; not used") from error
            if is_research_only(feature):
                raise ModelError(f"{where}, which reads the future and exists in research only; not used")
            found[model_field(name)] = feature
    return dict(sorted(found.items()))


def open_lengths(strategy: StrategyConfig, ranges: Mapping[str, tuple[float, float]]) -> dict[str, int]:
    """Parameters that are lengths of features and can be left open, and how long each may become.

    ranges: least and most value by parameter
    """
    cls = load(strategy.strategy)
    features = [*cls.features.values(), *(item.feature for item in entry_filters(strategy, cls).values())]
    features.append(Feature("atr", cls.timeframe, "stop_atr_bars"))
    most: dict[str, int] = {}
    fixed: set[str] = set()
    while features:
        feature = features.pop()
        features += feature.of
        own = _length_params(msgspec.structs.replace(feature, of=()))
        searched = own & set(ranges)
        # Of a length in parts no shorter one is known to be like a longer one.
        if own and not isinstance(feature.length, tuple) and feature.kernel in KERNELS and searched:
            (name,) = searched
            least, longest = (int(end) for end in ranges[name])
            if can_be_open(KERNELS[feature.kernel], least, longest):
                most[name] = longest
                continue
        fixed |= own
    return {name: longest for name, longest in most.items() if name not in fixed}


def _check_lengths(
    strategy: StrategyConfig,
    cls: type[Strategy],
    features: Mapping[str, Feature],
    params: Mapping[str, Any],
    own: Mapping[str, Mapping[str, Any]],
) -> None:
    """Parameters that give features their length are compiled in, so they are the same for all instruments."""
    lengths = {name for feature in features.values() for name in _length_params(feature)}
    for name in sorted(lengths & set(params)):
        for symbol, each in own.items():
            if each[name] != params[name]:
                raise ConfigError(
                    f"{strategy.path}.overrides.{symbol}.strategy_params.{name}: gives features their length, which is "
                    "the same for all instruments of a strategy; use a second block for this instrument"
                )


def _length_params(feature: Feature) -> set[str]:
    given = feature.length if isinstance(feature.length, tuple) else (feature.length,)
    found = {part for part in given if isinstance(part, str)}
    return found.union(*map(_length_params, feature.of))


def _instrument(
    symbol: str, item: Instrument, params: dict[str, Any], strategy: StrategyConfig, *, traded: bool
) -> EngineInstrument:
    """Instrument as the step has it; one that is only read costs nothing and has no size."""
    old, group = strategy.settings.profile == "v1", group_of(symbol)
    return EngineInstrument(
        symbol,
        group,
        item.tick_size,
        item.multiplier,
        item.commission if traded else 0.0,
        item.slippage_ticks if traded else 0.0,
        item.size if traded else 0,
        params,
        item.margin if traded and not old else 0.0,
        traded,
        clock_ns=oldclock.clock_ns(group) if old else 0,
    )


def _read(strategy: StrategyConfig, layout: Layout) -> list[str]:
    """Instruments that features read and the strategy does not trade. Raises ConfigError for one not configured."""
    wanted = [symbol for symbol in layout.symbols if symbol != "pair"]
    for symbol in wanted:
        if symbol not in strategy.instruments:
            raise ConfigError(
                f"{strategy.path}: features of {find(strategy.strategy)} or of its filters read {symbol}, which is not "
                "among the instruments; add it there (reference: true for data without orders). Not starting"
            )
    if "pair" in layout.symbols:
        wanted += [PAIRS[symbol] for symbol in strategy.traded if PAIRS.get(symbol) in strategy.instruments]
    return [symbol for symbol in dict.fromkeys(wanted) if symbol not in strategy.traded]


def _limits(strategy: StrategyConfig, cls: type[Strategy]) -> Limits:
    block = strategy.settings
    old = block.profile == "v1"
    windows = cls.entry_windows if block.entry_windows is None else block.entry_windows
    auto_close = cls.auto_close or "off" if block.auto_close is None else block.auto_close
    return Limits(
        starting_cash=block.starting_cash,
        max_positions=block.max_positions,
        daily_stop_loss=block.daily_stop_loss,
        drawdown_halt_usd=block.drawdown_halt or 0.0,
        close_margin_s=block.close_margin_s,
        reentry_wait_s=0.0 if old else block.reentry_wait_s,
        settle_s=block.settle_s,
        on_unconfirmed_entry=block.on_unconfirmed_entry,
        on_roll=block.on_roll,
        fill=block.fill,
        stop_fill=block.stop_fill,
        entry_windows=tuple(map(span_ns, windows)),
        no_entry_windows=tuple(map(span_ns, block.no_entry_windows)),
        auto_close_ns=time_of_day_ns(auto_close),
        warm_up_bars=FIRST_BAR_V1 if old else cls.warm_up_bars,
        profile=block.profile,
    )


def span_ns(span: str) -> tuple[int, int]:
    """Both ends of "08:25-08:35", ns after midnight."""
    begin, end = span.split("-")
    return time_of_day_ns(begin), time_of_day_ns(end)


def time_of_day_ns(clock: str) -> int:
    """Ns after midnight of "15:00"; -1 for off."""
    if clock == "off":
        return -1
    hour, minute = clock.split(":")
    return int(hour) * HOUR_NS + int(minute) * MINUTE_NS
