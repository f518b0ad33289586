"""`rooney reconcile NAME FILE`: what a ledger assumes against what the broker did. Compares and shows, never guesses.

Every trade of a ledger is two assumed fills, an open position is one. Each is matched with executions of the same
contract and side near its time. What differs in price is money: a closed trade's goes into the cash, an open position
gets its real entry price. What is missing on either side is a person's business and is only shown.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from rooney.errors import EXIT_ATTENTION, EXIT_OK
from rooney.format import minute_text, price_text, second_text, table, usd_text
from rooney.kernels.codes import Pending
from rooney.ledger.exposure import exposures
from rooney.ledger.records import Held
from rooney.ledger.snapshot import Snapshot
from rooney.market.instruments import PRODUCTS, Contract, parse_contract
from rooney.ops.broker_fills import Fill
from rooney.orders.control import Command, Verb
from rooney.orders.intents import Role
from rooney.performance.pairs import differing, parts_of

BEFORE_NS = 120 * 1_000_000_000  # an assumed fill is stamped with the open of a minute, a clock may be off
AFTER_NS = 900 * 1_000_000_000  # how late an execution may be and still be that of the order
_THROUGH = re.compile(r"reconciled through (\d+)\b")


class Assumed(msgspec.Struct, frozen=True):
    """A fill as the ledger assumes it. side: 1 bought, -1 sold; price in points; ts_ns: UTC ns; held: of a position."""

    symbol: str
    contract: Contract
    side: int
    quantity: int
    price: float
    ts_ns: int
    held: Held | None = None


class Pair(msgspec.Struct, frozen=True):
    """An assumed fill and the executions that are it; the price is their mean."""

    assumed: Assumed
    fills: tuple[Fill, ...]

    @property
    def price(self) -> float:
        """Mean price of the executions, weighted by contracts."""
        return sum(fill.price * fill.quantity for fill in self.fills) / self.assumed.quantity

    @property
    def gain_usd(self) -> float:
        """Gain against the assumed fill, USD."""
        one = self.assumed
        return one.side * (one.price - self.price) * one.quantity * PRODUCTS[one.contract.root].point_value


class Comparison(msgspec.Struct, frozen=True):
    """Matches of a ledger with executions, and what is left on either side.

    through_ns: assumed fills up to here were replaced by an earlier run
    net:        contract → (contracts the ledger believes open, contracts the executions add up to), where they differ
    """

    name: str
    pairs: tuple[Pair, ...]
    only_ledger: tuple[Assumed, ...]
    only_broker: tuple[Fill, ...]
    net: dict[str, tuple[int, int]]
    through_ns: int

    @property
    def fresh(self) -> list[Pair]:
        """Pairs of closed trades no earlier run has replaced."""
        return [pair for pair in self.pairs if pair.assumed.held is None and pair.assumed.ts_ns > self.through_ns]

    @property
    def cash_usd(self) -> float:
        """Correction of the cash, USD."""
        return round(sum(pair.gain_usd for pair in self.fresh), 2)

    @property
    def entries(self) -> list[Pair]:
        """Open positions whose real entry price is another; one that waits for its exit is left alone."""
        found = [pair for pair in self.pairs if pair.price != pair.assumed.price]
        return [pair for pair in found if pair.assumed.held and pair.assumed.held.pending is Pending.NONE]

    @property
    def is_same(self) -> bool:
        """Nothing is left to do or to look at."""
        return not (self.only_ledger or self.only_broker or self.net or self.entries or self.cash_usd)

    @property
    def code(self) -> int:
        """Attention unless all is the same."""
        return EXIT_OK if self.is_same else EXIT_ATTENTION


def assumed_fills(snapshot: Snapshot) -> list[Assumed]:
    """Every fill the ledger assumes, in the order of time."""
    found = []
    for trade in snapshot.trades:
        contract = _ordered(snapshot, trade.symbol, trade.contract, trade.entry_ts)
        found.append(Assumed(trade.symbol, contract, trade.side, trade.quantity, trade.entry_price, trade.entry_ts))
        found.append(Assumed(trade.symbol, contract, -trade.side, trade.quantity, trade.exit_price, trade.exit_ts))
    for held in snapshot.held:
        if held.side:
            contract = _ordered(snapshot, held.symbol, held.contract, held.entry_ts)
            found.append(
                Assumed(held.symbol, contract, int(held.side), held.quantity, held.entry_price, held.entry_ts, held)
            )
    return sorted(found, key=lambda one: one.ts_ns)


def compare(snapshot: Snapshot, fills: Sequence[Fill], through_ns: int = 0) -> Comparison:
    """Match assumed fills with executions. Pure.

    Assumed fills from before the first execution are not compared: the export does not reach back to them.
    """
    first_ns = fills[0].ts_ns - BEFORE_NS if fills else 0
    left = {id(fill): fill for fill in fills}
    pairs, only_ledger = [], []
    for assumed in assumed_fills(snapshot):
        if assumed.ts_ns < first_ns - AFTER_NS:
            continue
        own = [fill for fill in left.values() if _is_near(assumed, fill)]
        taken = parts_of(assumed.quantity, own, lambda fill: fill.quantity)
        if taken is None:
            if assumed.ts_ns >= first_ns:
                only_ledger.append(assumed)
            continue
        for fill in taken:
            del left[id(fill)]
        pairs.append(Pair(assumed, taken))
    return Comparison(
        snapshot.name, tuple(pairs), tuple(only_ledger), tuple(left.values()), _net(snapshot, fills), through_ns
    )


def _is_near(assumed: Assumed, fill: Fill) -> bool:
    """An execution can be of an assumed fill: its contract and side, near its time."""
    is_near = assumed.ts_ns - BEFORE_NS <= fill.ts_ns <= assumed.ts_ns + AFTER_NS
    return is_near and (fill.contract, fill.side) == (assumed.contract, assumed.side)


def _net(snapshot: Snapshot, fills: Sequence[Fill]) -> dict[str, tuple[int, int]]:
    believed: dict[str, int] = {}
    for one in exposures(snapshot):
        if one.is_certain:
            believed[one.contract] = int(one.side) * one.quantity
    executed: dict[str, int] = {}
    for fill in fills:
        executed[fill.contract.raw] = executed.get(fill.contract.raw, 0) + fill.side * fill.quantity
    parted = sorted(differing(believed, executed, lambda ours, theirs: (ours or 0) == (theirs or 0)))
    return {name: (believed.get(name, 0), executed.get(name, 0)) for name in parted}


def _ordered(snapshot: Snapshot, symbol: str, raw: str, ts_ns: int) -> Contract:
    """The contract the orders of a trade went out in: that of the newest entry before its fill."""
    entries = [o for o in snapshot.orders if o.role is Role.ENTRY and o.symbol == symbol and o.ts_mark <= ts_ns]
    contract = parse_contract(raw, datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).date())
    assert contract is not None, raw  # a ledger's own spelling
    return msgspec.structs.replace(contract, root=entries[-1].ticker[: -len("M2026")] if entries else symbol)


def through(reasons: Iterable[str]) -> int:
    """Up to when earlier runs have replaced assumed fills, by the reasons they left; UTC ns, 0 for never."""
    found = [int(match[1]) for reason in reasons if (match := _THROUGH.search(reason))]
    return max(found, default=0)


def commands(comparison: Comparison, who: str, reason: str, ts_ns: int) -> list[Command]:
    """Commands that replace the assumed fills by the real ones. ts_ns: of the first; each has its own."""
    found = []
    if comparison.fresh:
        last_ns = max(pair.assumed.ts_ns for pair in comparison.fresh)
        # The mark is what keeps a second run over the same days from correcting the cash twice.
        text = f"reconciled through {last_ns}: {reason}"
        found.append(Command(ts_ns, Verb.CASH, who, text, usd=comparison.cash_usd))
    for n, pair in enumerate(comparison.entries, 1):
        one = pair.assumed
        found.append(
            Command(
                ts_ns + n,
                Verb.POSITION,
                who,
                reason,
                symbol=one.symbol,
                side=one.side,
                quantity=one.quantity,
                price=pair.price,
            )
        )
    return found


def lines(comparison: Comparison) -> list[str]:
    """For a terminal."""
    found = [f"{comparison.name}: {len(comparison.pairs)} assumed fills found at the broker"]
    rows = []
    for pair in comparison.pairs:
        if pair.price == pair.assumed.price:
            continue
        one = pair.assumed
        is_old = one.held is None and one.ts_ns <= comparison.through_ns
        note = "replaced already" if is_old else "open position" if one.held else f"{usd_text(pair.gain_usd)} USD"
        rows.append((*_fill_cells(one), f"filled at {price_text(pair.price)}", note))
    found += table(rows) if rows else []
    for one in comparison.only_ledger:
        found.append(f"  not at the broker: {'  '.join(_fill_cells(one))}")
    for fill in comparison.only_broker:
        what = "bought" if fill.side > 0 else "sold"
        price, at = price_text(fill.price), second_text(fill.ts_ns)
        found.append(f"  not in the ledger: {at}  {fill.contract.raw}  {what} {fill.quantity}  at {price}")
    for contract, (ours, theirs) in comparison.net.items():
        found.append(f"  {contract}: the ledger has {ours:+d} open, the executions of this file add up to {theirs:+d}")
    if comparison.only_ledger or comparison.only_broker or comparison.net:
        found.append(f"  Look at the broker, then: rooney position {comparison.name} SYMBOL QUANTITY --price PRICE")
    found.append(f"cash to correct by {usd_text(comparison.cash_usd)} USD, {len(comparison.entries)} entry prices")
    return found


def _fill_cells(one: Assumed) -> tuple[str, str, str, str]:
    what = "bought" if one.side > 0 else "sold"
    return minute_text(one.ts_ns), one.contract.raw, f"{what} {one.quantity}", f"assumed {price_text(one.price)}"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """For programs; times UTC ns, prices in points."""
    return {
        "strategy": comparison.name,
        "matched": [
            {
                "symbol": pair.assumed.symbol,
                "contract": pair.assumed.contract.raw,
                "side": pair.assumed.side,
                "quantity": pair.assumed.quantity,
                "ts_ns": pair.assumed.ts_ns,
                "assumed_price": pair.assumed.price,
                "price": pair.price,
                "gain_usd": pair.gain_usd,
                "is_open": pair.assumed.held is not None,
                "fills": [fill.id for fill in pair.fills],
            }
            for pair in comparison.pairs
        ],
        "only_ledger": [
            {
                "symbol": one.symbol,
                "contract": one.contract.raw,
                "side": one.side,
                "quantity": one.quantity,
                "ts_ns": one.ts_ns,
                "assumed_price": one.price,
            }
            for one in comparison.only_ledger
        ],
        "only_broker": [
            {
                "id": fill.id,
                "line": fill.line,
                "contract": fill.contract.raw,
                "side": fill.side,
                "quantity": fill.quantity,
                "ts_ns": fill.ts_ns,
                "price": fill.price,
            }
            for fill in comparison.only_broker
        ],
        "net": {name: {"ledger": ours, "broker": theirs} for name, (ours, theirs) in comparison.net.items()},
        "cash_usd": comparison.cash_usd,
    }
