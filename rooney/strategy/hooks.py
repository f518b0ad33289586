"""Calls of a strategy's own hooks: by the worker after its commit, by a backtest of the same decisions."""

import logging
from collections.abc import Iterable

from rooney.orders.decisions import Trade
from rooney.orders.intents import Intent
from rooney.strategy.base import Strategy

logger = logging.getLogger(__name__)


class Hooks:
    """Hooks of a strategy. They can change no decision, and their errors are their own."""

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
