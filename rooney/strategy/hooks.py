"""What a strategy's own hooks are told: by the worker after its commit, by a backtest of the same decisions."""

import logging
from collections.abc import Callable, Iterable

import msgspec

from rooney.engine.engine import Decided, Trade
from rooney.orders.intents import Intent, new_intent_id
from rooney.strategy.compiler import Strategy

logger = logging.getLogger(__name__)


def intent_of(
    decided: Decided, strategy: str, mode: str, order_root: str, ts_mark: int, seq: int, is_taken: Callable[[str], bool]
) -> Intent:
    """The intent of a decision. order_root: root the order is sent in; is_taken: whether an earlier one has an id."""
    ordered = msgspec.structs.replace(decided.contract, root=order_root)
    return Intent(
        new_intent_id(strategy, mode, ordered.raw, decided.role, ts_mark, is_taken),
        strategy,
        mode,
        decided.symbol,
        ordered.raw,
        ordered.ticker,
        decided.role,
        decided.side,
        decided.quantity,
        decided.cause.name.lower(),
        decided.price,
        ts_mark,
        seq,
        decided.stop_price,
    )


class Hooks:
    """Those of one strategy. They can change no decision, and their errors are their own."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        own = type(strategy)
        self.wanted = own.on_order is not Strategy.on_order or own.on_trade is not Strategy.on_trade

    def call(self, intents: Iterable[Intent], trades: Iterable[Trade]) -> None:
        """Tell of what one mark has decided and closed."""
        for hook, items in ((self._strategy.on_order, intents), (self._strategy.on_trade, trades)):
            for item in items:
                try:
                    hook(item)
                except Exception as error:  # noqa: BLE001 - anything a researcher's code may raise
                    logger.error("%s failed: %s: %s", hook.__qualname__, type(error).__name__, error)
