"""Settings that processes take from the configuration."""

from pathlib import Path

import msgspec

from rooney.config.account_sharing import Account
from rooney.config.params import Declared, check_params, given_params
from rooney.config.schema import Databento, DataHub, StrategyBlock
from rooney.config.validation import Scalar
from rooney.errors import BundleError
from rooney.models.bundle import Bundle


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument, complete.

    size:       contracts per entry
    commission: USD per contract, round turn
    multiplier: USD per 1.0 of price
    margin:     USD per contract
    tick_size:  in price units
    slippage_ticks: assumed per side
    reference:  data for features, never traded
    """

    root: str
    databento_product_id: str
    tradovate_symbol: str
    size: int
    commission: float
    multiplier: float
    margin: float
    tick_size: float
    slippage_ticks: float
    reference: bool


class HubConfig(msgspec.Struct, frozen=True):
    """All that the hub needs; `databento.api_key` is resolved."""

    databento: Databento
    data_hub: DataHub
    instruments: dict[str, Instrument]


class StrategyConfig(msgspec.Struct, frozen=True):
    """A strategy without its account: enough for backtest, research and status.

    instruments: every configured instrument in the file's order, as the hub publishes them
    traded:      signal root → the instrument its orders are sent in, overrides applied, in the block's order
    bundle:      what it trades by, if the block names one; its folder is then `models_path`
    """

    name: str
    strategy: str
    settings: StrategyBlock
    instruments: dict[str, Instrument]
    traded: dict[str, Instrument]
    models_path: Path | None
    bundle: Bundle | None = None

    @property
    def path(self) -> str:
        """Key path of the block."""
        return f"strategies.{self.name}"

    def params(self, declared: Declared, symbol: str | None = None) -> dict[str, Scalar]:
        """Every declared parameter with its value: default, then the block's, then the override of `symbol`.

        Of a bundle, its own; a block that says otherwise is refused (BundleError).
        """
        path = f"{self.path}.strategy_params"
        given = given_params(path, self.settings.strategy_params, declared)
        changed = self.settings.overrides.get(symbol) if symbol else None
        if changed is not None:
            own = f"{self.path}.overrides.{symbol}.strategy_params"
            given |= given_params(own, changed.strategy_params, declared)
        if self.bundle is None:
            return check_params(path, {}, declared) | given
        found = check_params(str(self.bundle.path), self.bundle.params(symbol), declared)
        for key, value in given.items():
            if found[key] != value:
                where = f"{path}.{key}" if symbol is None else f"{path}.{key} of {symbol}"
                raise BundleError(
                    f"{where}: is {value} here and {found[key]} in bundle {self.bundle.short}, whose models know no "
                    "other trades: take the key out, or train and promote anew; not used"
                )
        return found


class WorkerConfig(msgspec.Struct, frozen=True):
    """All that one worker needs. account: None in mode dry."""

    strategy: StrategyConfig
    data_hub: DataHub
    account: Account | None
