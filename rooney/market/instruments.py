"""Products and contracts: what one is worth, how each party spells it, until when it may be held.

A *root* is ES, a *contract* ESZ5 (Databento and the exchange: one-digit year), a *ticker* ESZ2025 (TradersPost).
The facts are those of the CME contract specifications; grains are quoted in US cents a bushel.
"""

import re
from datetime import date, timedelta
from functools import lru_cache

import msgspec

from rooney.market.sessions import is_trade_date, previous_trade_date, window_at

MONTH_CODES = "FGHJKMNQUVXZ"  # January to December
_TICKER = re.compile(rf"([A-Z0-9]{{2,3}})([{MONTH_CODES}])(\d{{4}})")
_OUTRIGHT = re.compile(rf"^([A-Z0-9]{{2,3}}?)([{MONTH_CODES}])(\d{{1,2}})$")


class Product(msgspec.Struct, frozen=True):
    """A futures product.

    point_value: USD per 1.0 of price
    tick_size:   smallest price step, in price units
    months:      month codes of the contracts that trade; others are listed but illiquid
    margin_usd:  a placeholder per contract, not the exchange's figure
    """

    root: str
    name: str
    group: str
    point_value: float
    tick_size: float
    months: str
    margin_usd: float
    commission_usd: float = 4.5


_PRODUCTS = (
    Product("ES", "E-mini S&P 500", "equity", 50.0, 0.25, "HMUZ", 13_200.0, 4.0),
    Product("NQ", "E-mini Nasdaq-100", "equity", 20.0, 0.25, "HMUZ", 17_600.0, 4.0),
    Product("RTY", "E-mini Russell 2000", "equity", 50.0, 0.1, "HMUZ", 8_800.0, 4.0),
    Product("YM", "E-mini Dow", "equity", 5.0, 1.0, "HMUZ", 9_350.0, 4.0),
    Product("CL", "WTI crude oil", "energy", 1_000.0, 0.01, MONTH_CODES, 5_500.0),
    Product("NG", "Henry Hub natural gas", "energy", 10_000.0, 0.001, MONTH_CODES, 3_300.0),
    Product("6A", "Australian dollar", "fx", 100_000.0, 0.00005, "HMUZ", 2_200.0),
    Product("6B", "British pound", "fx", 62_500.0, 0.0001, "HMUZ", 2_750.0),
    Product("6C", "Canadian dollar", "fx", 100_000.0, 0.00005, "HMUZ", 2_200.0),
    Product("6M", "Mexican peso", "fx", 500_000.0, 0.00001, "HMUZ", 3_850.0),
    Product("6N", "New Zealand dollar", "fx", 100_000.0, 0.00005, "HMUZ", 1_980.0),
    Product("6S", "Swiss franc", "fx", 125_000.0, 0.00005, "HMUZ", 2_420.0),
    Product("HG", "Copper", "metals", 25_000.0, 0.0005, "HKNUZ", 4_400.0),
    Product("SI", "Silver", "metals", 5_000.0, 0.005, "HKNUZ", 14_300.0),
    Product("GC", "Gold", "metals", 100.0, 0.1, "GJMQVZ", 11_000.0),
    Product("ZC", "Corn", "grains", 50.0, 0.25, "HKNUZ", 1_650.0),
    Product("ZS", "Soybeans", "grains", 50.0, 0.25, "FHKNQUX", 2_200.0),
    Product("ZW", "Chicago SRW wheat", "grains", 50.0, 0.25, "HKNUZ", 2_750.0),
    # Reference products: data for features, never traded by default.
    Product("6E", "Euro FX", "fx", 125_000.0, 0.00005, "HMUZ", 2_750.0),
    Product("6J", "Japanese yen", "fx", 12_500_000.0, 0.0000005, "HMUZ", 3_300.0),
    Product("PL", "Platinum", "metals", 50.0, 0.1, "FJNV", 3_300.0),
    Product("ZB", "30-year Treasury bond", "rates", 1_000.0, 0.03125, "HMUZ", 3_300.0),
    Product("MES", "Micro E-mini S&P 500", "equity", 5.0, 0.25, "HMUZ", 1_320.0, 1.0),
    Product("MNQ", "Micro E-mini Nasdaq-100", "equity", 2.0, 0.25, "HMUZ", 1_760.0, 1.0),
)
PRODUCTS = {product.root: product for product in _PRODUCTS}


def group_of(root: str) -> str:
    """Session group of a root; unknown products keep the hours of index futures."""
    product = PRODUCTS.get(root)
    return product.group if product is not None else "equity"


def is_open(root: str, ts_ns: int) -> bool:
    """True while the session of a root is open."""
    return window_at(group_of(root), ts_ns) is not None


class Contract(msgspec.Struct, frozen=True, order=True):
    """A delivery month of a root; ordered by expiry within a root."""

    root: str
    year: int
    month: int

    @property
    def number(self) -> int:
        """202512 for December 2025: how the step, which knows no strings, names a contract."""
        return self.year * 100 + self.month

    @property
    def raw(self) -> str:
        """Exchange spelling with a one-digit year: ESZ5."""
        return f"{self.root}{MONTH_CODES[self.month - 1]}{self.year % 10}"

    @property
    def ticker(self) -> str:
        """TradersPost spelling with a four-digit year: ESZ2025."""
        return f"{self.root}{MONTH_CODES[self.month - 1]}{self.year}"


def contract_from_number(root: str, number: int) -> Contract:
    """The contract that `Contract.number` came from."""
    return Contract(root, number // 100, number % 100)


def parse_ticker(ticker: str) -> Contract | None:
    """The contract that `Contract.ticker` came from; None for anything else."""
    match = _TICKER.fullmatch(ticker)
    return Contract(match[1], int(match[3]), MONTH_CODES.index(match[2]) + 1) if match is not None else None


@lru_cache(maxsize=65_536)
def parse_contract(raw: str, on: date) -> Contract | None:
    """Read an outright's raw symbol as it was meant on day `on`; None for spreads, combos and anything else.

    One-digit years repeat each decade: the year taken is the first, not before `on`'s, with that last digit whose
    month is not over on that day.
    """
    match = _OUTRIGHT.match(raw)
    if match is None:
        return None
    root, code, digits = match.groups()
    month = MONTH_CODES.index(code) + 1
    modulus = 10 ** len(digits)
    year = on.year + (int(digits) - on.year) % modulus
    if (year, month) < (on.year, on.month):
        year += modulus
    return Contract(root, year, month)


def business_days_before(day: date, count: int) -> date:
    """The business day of the exchange `count` business days before `day`."""
    for _ in range(count):
        day = previous_trade_date(day)
    return day


def _nth_weekday(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


@lru_cache(maxsize=4096)
def deadline(contract: Contract) -> date:
    """Last trading day, or first notice day where delivery may come earlier: nothing may be held on or after it.

    Rules per product group as in the exchange's specifications, on its business days; of contracts beyond the session
    table's end, on weekdays.
    """
    year, month = contract.year, contract.month
    group = group_of(contract.root)
    first = date(year, month, 1)
    if group == "equity":
        friday = _nth_weekday(year, month, weekday=4, n=3)
        return friday if is_trade_date(friday) else previous_trade_date(friday)
    if group == "fx":
        before = 1 if contract.root == "6C" else 2
        return business_days_before(_nth_weekday(year, month, weekday=2, n=3), before)
    if contract.root == "CL":
        anchor = (first - timedelta(days=1)).replace(day=25)
        if not is_trade_date(anchor):
            anchor = previous_trade_date(anchor)
        return business_days_before(anchor, 3)
    if contract.root == "NG":
        return business_days_before(first, 3)
    return business_days_before(first, 1)  # first notice day of metals, grains and bonds


def following(contract: Contract) -> Contract:
    """The next contract of the months that trade."""
    months = [MONTH_CODES.index(code) + 1 for code in PRODUCTS[contract.root].months]
    later = next((month for month in months if month > contract.month), None)
    if later is None:
        return Contract(contract.root, contract.year + 1, months[0])
    return Contract(contract.root, contract.year, later)


@lru_cache(maxsize=4096)
def nearest(root: str, day: date) -> Contract:
    """The first contract of the months that trade whose deadline lies after `day`."""
    contract = following(Contract(root, day.year - 1, 12))
    while deadline(contract) <= day:
        contract = following(contract)
    return contract
