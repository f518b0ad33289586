"""Configuration → engine: the very one for worker, backtest and check."""

from rooney.config import StrategyConfig
from rooney.engine import Engine, EngineInstrument, Limits
from rooney.errors import ConfigError
from rooney.instruments import group_of
from rooney.strategy import compile_strategy, load


def refuse_unbuilt(strategy: StrategyConfig) -> None:
    """Keys whose part is not built yet: with money at stake they are refused, never ignored. Raises ConfigError."""
    block = strategy.settings
    wanted = {
        "profile": block.profile == "v1",
        "on_roll": block.on_roll == "roll",
        "stop_fill": block.stop_fill == "inside",
        "drawdown_halt": block.drawdown_halt is not None,
        "no_entry_windows": bool(block.no_entry_windows),
    }
    for key in (key for key, is_wanted in wanted.items() if is_wanted):
        raise ConfigError(
            f"{strategy.path}.{key}: {getattr(block, key)!r} is not available in this version; leave the key out. "
            "Not starting"
        )


def build_engine(strategy: StrategyConfig) -> Engine:
    """Engine of a configured strategy: the very one for live and backtest."""
    cls = load(strategy.strategy)
    declared = {key: (param.default, param.low, param.high) for key, param in cls.params.items()}
    params = strategy.params(declared)
    block = strategy.settings
    lengths = {feature.length for feature in cls.features.values() if isinstance(feature.length, str)}
    instruments = []
    for symbol, item in strategy.traded.items():
        own = strategy.params(declared, symbol)
        for name in sorted(lengths):
            if own[name] != params[name]:
                raise ConfigError(
                    f"{strategy.path}.overrides.{symbol}.strategy_params.{name}: gives features their length, which is "
                    "the same for all instruments of a strategy; use a second block for this instrument"
                )
        instruments.append(
            EngineInstrument(
                symbol,
                group_of(symbol),
                item.tick_size,
                item.multiplier,
                item.commission,
                item.slippage_ticks,
                item.size,
                own,
                int(own.get("time_stop_bars", 0)),
            )
        )
    limits = Limits(
        starting_cash=block.starting_cash,
        max_positions=block.max_positions,
        daily_stop_loss=block.daily_stop_loss,
        close_margin_s=block.close_margin_s,
        reentry_wait_s=block.reentry_wait_s,
        settle_s=block.settle_s,
        on_unconfirmed_entry=block.on_unconfirmed_entry,
    )
    return Engine(compile_strategy(strategy.strategy, params), instruments, limits)
