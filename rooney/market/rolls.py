"""Which contract of a root is the front one, decided once per trade date from the volumes of the day before."""

from collections.abc import Iterable
from datetime import date, timedelta
from functools import cache

from rooney.market.instruments import MONTH_CODES, PRODUCTS, Contract, deadline

# A contract is left this many days before its deadline, whatever its volume: weekends and holidays included.
STOP_DAYS = 4


def front(
    day: date, current: Contract | None, volumes: dict[Contract, int], listed: Iterable[Contract]
) -> tuple[Contract | None, str]:
    """The contract to trade on trade date `day`, and the rule that chose it.

    current: the contract in use, None at the very first; it is never left for an earlier one
    volumes: contracts traded on the previous trade date; empty when unknown
    listed:  contracts the feed knows
    return:  the current one, even None, is kept when nothing is listed that may be held on `day`
    """
    candidates = sorted(
        contract
        for contract in {*listed, *volumes}
        if (current is None or contract >= current)
        and deadline(contract) - timedelta(days=STOP_DAYS) > day
        and contract.month in _months(contract.root)
    )
    if not candidates:
        return current, "kept"
    traded = [contract for contract in candidates if volumes.get(contract, 0) > 0]
    if traded:
        best = max(traded, key=lambda contract: (volumes[contract], -contract.number))
        return best, "volume"
    if current in candidates:
        return current, "kept"
    return candidates[0], "calendar" if current is None else "deadline"


@cache
def _months(root: str) -> frozenset[int]:
    product = PRODUCTS.get(root)
    codes = product.months if product is not None else MONTH_CODES
    return frozenset(MONTH_CODES.index(code) + 1 for code in codes)
