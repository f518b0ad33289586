"""What a strategy's decisions are held against: its file and its block, as they are now. A compiler comes with it."""

from rooney.config.loader import Config
from rooney.engine.build import configured_vetoes, entry_filters
from rooney.models.forest import Model
from rooney.ops.why import Rules
from rooney.strategy.compiler import load


def rules_of(config: Config, name: str) -> Rules:
    """Raises ConfigError for a strategy that is not configured or cannot be loaded."""
    strategy = config.strategy(name)
    block, cls = strategy.settings, load(strategy.strategy)
    vetoes = configured_vetoes(strategy)
    declared = {key: (param.default, param.low, param.high) for key, param in cls.declared().items()}
    return Rules(
        timeframe=cls.timeframe,
        params={symbol: strategy.params(declared, symbol) for symbol in strategy.traded},
        filters=entry_filters(strategy, cls),
        rules={rule: getattr(cls, rule) for rule in ("should_enter_long", "should_enter_short")},
        max_positions=block.max_positions,
        daily_stop_loss=block.daily_stop_loss,
        drawdown_halt=block.drawdown_halt or 0.0,
        reentry_wait_s=block.reentry_wait_s,
        close_margin_s=block.close_margin_s,
        entry_windows=cls.entry_windows if block.entry_windows is None else block.entry_windows,
        no_entry_windows=block.no_entry_windows,
        thresholds={symbol: veto.threshold for symbol, veto in vetoes.items() if isinstance(veto, Model)},
    )
