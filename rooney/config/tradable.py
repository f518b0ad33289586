"""Instruments of a configuration: each block completed by the product's facts, and those a strategy may trade. Pure."""

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from rooney.config.schema import InstrumentBlock, Override, StrategyBlock
from rooney.config.settings import Instrument
from rooney.config.validation import REFUSED, join, unknown, wrong
from rooney.errors import ConfigError
from rooney.market.instruments import MONTH_CODES, PRODUCTS, Product


def tradable_instruments(blocks: Mapping[str, InstrumentBlock]) -> dict[str, Instrument]:
    """Instruments by root, in the blocks' order. Raises ConfigError."""
    return {root: _instrument(f"instruments.{root}", root, block) for root, block in blocks.items()}


def _instrument(path: str, root: str, block: InstrumentBlock) -> Instrument:
    """The block completed by what is known of the product; a fact of the exchange cannot be configured away."""
    product = PRODUCTS.get(root)
    if product is None:
        facts = ("commission", "margin", "multiplier", "tick_size")
        missing = [key for key in facts if getattr(block, key) is None]
        if missing:
            raise ConfigError(
                f"{path}: {root} is not a product rooney knows, so {', '.join(missing)} must be given; {REFUSED}"
            )
        product = Product(root, root, "", block.multiplier or 0.0, block.tick_size or 0.0, "", 0.0)
    for key, given, fact in (
        ("multiplier", block.multiplier, product.point_value),
        ("tick_size", block.tick_size, product.tick_size),
    ):
        if given is not None and not math.isclose(given, fact, rel_tol=1e-9):
            raise wrong(f"{path}.{key}", f"{fact:.10g}, which is what the exchange says of {product.name}", given)
    # Orders in another product are `order_symbol`; data of another product would be bars under a false name.
    product_id = block.databento_product_id or f"{root}.FUT"
    if not re.fullmatch(rf"{root}(\.FUT|\.[cnv]\.\d|[{MONTH_CODES}]\d)", product_id):
        raise wrong(f"{path}.databento_product_id", f"{root}.FUT, {root}.v.0 or one contract of {root}", product_id)
    if block.tradovate_symbol not in (None, root):
        raise wrong(f"{path}.tradovate_symbol", root, block.tradovate_symbol)
    return Instrument(
        root=root,
        databento_product_id=product_id,
        tradovate_symbol=root,
        size=block.size,
        commission=product.commission_usd if block.commission is None else block.commission,
        multiplier=product.point_value,
        margin=block.margin or product.margin_usd,
        tick_size=product.tick_size,
        slippage_ticks=block.slippage_ticks,
        reference=block.reference,
    )


def traded_instruments(name: str, block: StrategyBlock, instruments: Mapping[str, Instrument]) -> dict[str, Instrument]:
    """Signal root → instrument of its orders. Raises ConfigError for what the strategy may not trade."""
    path = f"strategies.{name}.instruments"
    if not block.instruments:
        raise ConfigError(f"{path}: expected at least one instrument, got none; {REFUSED}")
    if block.max_instruments and len(block.instruments) > block.max_instruments:
        raise wrong(path, f"at most max_instruments ({block.max_instruments})", block.instruments)
    for index, root in enumerate(block.instruments):
        if root in block.instruments[:index]:
            raise ConfigError(f"{path}[{index}]: {root} is listed twice; {REFUSED}")
        _check_tradable(f"{path}[{index}]", root, instruments)
    for key in ("overrides", "order_symbol"):
        for root in getattr(block, key):
            if root not in block.instruments:
                raise unknown(
                    f"strategies.{name}.{join(key, root)}", "instrument of this strategy", root, block.instruments
                )
    traded: dict[str, Instrument] = {}
    for root in block.instruments:
        order = _order_instrument(f"strategies.{name}.order_symbol.{root}", root, block, instruments)
        twin = next((other for other, item in traded.items() if item.root == order.root), None)
        if twin is not None:  # an exit closes all there is of a product, so one position would close the other's
            raise ConfigError(
                f"strategies.{name}.order_symbol: the orders of {twin} and {root} would both go out in {order.root}; "
                f"{REFUSED}"
            )
        changed = block.overrides.get(root, Override())
        fields = {key: getattr(changed, key) for key in ("size", "commission", "margin", "slippage_ticks")}
        changes: Any = {key: value for key, value in fields.items() if value is not None}
        traded[root] = msgspec.structs.replace(order, **changes)
    return traded


def _check_tradable(path: str, root: str, instruments: Mapping[str, Instrument]) -> None:
    if root not in instruments:
        raise unknown(path, "instrument", root, instruments)
    if instruments[root].reference:
        raise ConfigError(f"{path}: {root} is reference: true, data without orders; {REFUSED}")


def _order_instrument(path: str, root: str, block: StrategyBlock, instruments: Mapping[str, Instrument]) -> Instrument:
    """Instrument of `root`'s orders. A product without a block (the hub need not subscribe it) will do."""
    other = block.order_symbol.get(root, root)
    if other in instruments or other not in PRODUCTS:
        _check_tradable(path, other, instruments)
        order = instruments[other]
    else:
        order = _instrument(path, other, InstrumentBlock())
    ours, theirs = PRODUCTS.get(root), PRODUCTS.get(other)
    if ours and theirs and ours.months != theirs.months:
        raise wrong(path, f"a product with the contract months of {root} ({ours.months})", other)
    return order
