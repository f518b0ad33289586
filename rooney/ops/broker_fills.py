"""A broker's CSV export → fills. Lenient about what columns are called, strict about what stands in them.

Read are Tradovate's Fills and Orders reports, and any table with a contract, a side, a quantity, a price and a time
under one of the names below, which is how TradersPost's trade export is taken in. Tradovate writes two times: the
column `_timestamp` is UTC, the ones for people are in the zone of whoever exported them and say so nowhere; those need
a zone.
"""

import calendar
import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec

from rooney.errors import FileError, RooneyError
from rooney.files import MIB, read_text
from rooney.market.instruments import Contract, parse_contract, parse_ticker

T = TypeVar("T")

# What is meant → names it goes by, best first; letters and digits only, lower case, a leading _ kept.
COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("fillid", "_id", "executionid", "orderid", "id"),
    "time": ("_timestamp", "filltime", "filledat", "executedat", "timestamp", "time", "datetime", "createdat", "date"),
    "contract": ("contract", "ticker", "symbol", "instrument"),
    "side": ("bs", "side", "action"),
    "quantity": ("filledqty", "filledquantity", "quantity", "qty", "size"),
    "price": (  # decimal ones first: Tradovate shows people 445'2 for 445.25
        "decimalfillavg",
        "_price",
        "avgprice",
        "avgfillprice",
        "averagefillprice",
        "fillprice",
        "filledprice",
        "averageprice",
        "price",
    ),
    "status": ("status", "state"),
    "account": ("account", "accountname", "accountid"),
}
NEEDED = ("time", "contract", "side", "quantity", "price")
_SIDES = {"buy": 1, "b": 1, "sell": -1, "s": -1}
_UNFILLED = ("canceled", "cancelled", "rejected", "expired", "working", "pending", "suspended", "failed")
_FILLED = ("filled", "completed", "complete", "closed", "executed", "partiallyfilled")
_GROUPED = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")
_YEARS = range(1971, 2200)
_MAX_YEARS_OUT = 20  # no exchange lists a contract for later, and one that is over is not traded
_TIMES = ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%y %H:%M:%S", "%m/%d/%y %H:%M")


class StatementError(RooneyError):
    """A broker's export cannot be taken as fills; the message names file, line and column."""


class Fill(msgspec.Struct, frozen=True):
    """An execution. side: 1 bought, -1 sold; price in points; ts_ns: UTC ns; line: where it stands in the file."""

    id: str
    ts_ns: int
    contract: Contract
    side: int
    quantity: int
    price: float
    line: int


def read_statement(path: Path, zone: tzinfo | None = None, account: str = "") -> list[Fill]:
    """Fills in the order of time. Raises StatementError.

    zone:    of times that do not say theirs
    account: whose fills are wanted, where the file has those of several
    """
    try:
        text = read_text(path, 64 * MIB, then="nothing was compared")
    except FileError as error:
        raise StatementError(str(error)) from None
    return parse_statement(text, str(path), zone, account)


def parse_statement(text: str, name: str, zone: tzinfo | None = None, account: str = "") -> list[Fill]:
    """As read_statement, of a text; `name` is for messages."""
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        where = _columns(name, header)
        fills: list[Fill] = []
        accounts: set[str] = set()
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            line = _Line(name, reader.line_num, header, [_ungrouped(cell, delimiter) for cell in row], where)
            owner = line.text("account")
            if account and owner != account:
                continue
            fill = _fill(line, zone)
            if fill is not None:
                accounts.add(owner)
                fills.append(fill)
    except csv.Error as error:
        raise StatementError(f"{name}:{reader.line_num}: no CSV: {error}; nothing was compared") from None
    if len(accounts) > 1:
        raise StatementError(
            f"{name}: fills of {len(accounts)} accounts ({', '.join(sorted(accounts))}); a strategy has one: choose "
            "with --account. Nothing was compared"
        )
    _refuse_repeated(name, fills)
    return sorted(fills, key=lambda fill: (fill.ts_ns, fill.line))


def _ungrouped(cell: str, delimiter: str) -> str:
    """29,007.75 without its separators. In other files than those of commas, 29,007 may be a decimal number."""
    is_grouped = _GROUPED.fullmatch(cell.strip()) and (delimiter == "," or "." in cell)
    return cell.replace(",", "") if is_grouped else cell


class _Line:
    """A row with what its errors need."""

    def __init__(
        self, name: str, number: int, header: Sequence[str], row: Sequence[str], where: Mapping[str, int]
    ) -> None:
        self.number = number
        self._name, self._header, self._row, self._where = name, header, row, where
        if len(row) != len(header):
            raise StatementError(
                f"{name}:{number}: expected {len(header)} columns as in the first line, got {len(row)}; nothing was "
                "compared"
            )

    @property
    def knows_filled(self) -> bool:
        """True where the quantity is what was filled, not what was ordered."""
        return self._header[self._where["quantity"]].strip().lower().startswith("filled")

    def text(self, what: str) -> str:
        """A cell without the blanks around it; empty where there is no such column."""
        return self._row[self._where[what]].strip() if what in self._where else ""

    def value(self, what: str, expected: str, read: Callable[[str], T | None]) -> T:
        """A cell as `read` understands it; raises StatementError where that gives None."""
        found = read(self.text(what))
        if found is None:
            column = self._header[self._where[what]].strip()
            raise StatementError(
                f"{self._name}:{self.number}: column {column!r}: expected {expected}, got {self.text(what)!r}; nothing "
                "was compared"
            )
        return found


def _columns(name: str, header: Sequence[str]) -> dict[str, int]:
    """Meaning → index of its column."""
    plain = [("_" if cell.strip().startswith("_") else "") + re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in header]
    known = {what: [name for name in names if name in plain] for what, names in COLUMNS.items()}
    found = {what: plain.index(names[0]) for what, names in known.items() if names}
    for what in NEEDED:
        if what not in found:
            there = ", ".join(cell.strip() for cell in header if cell.strip()) or "nothing"
            raise StatementError(
                f"{name}:1: no column for the {what} (known names: {', '.join(COLUMNS[what])}); it has {there[:300]}. "
                "Nothing was compared"
            )
    return found


def _fill(line: _Line, zone: tzinfo | None) -> Fill | None:
    """The fill of a row, None for an order that came to nothing."""
    if line.text("status"):
        is_filled = line.value("status", f"one of {', '.join(_FILLED + _UNFILLED)}", _is_filled)
        # One that was cancelled after a part was filled is a fill of that part, where the file tells them apart.
        if not is_filled and (not line.knows_filled or line.text("quantity") in ("", "0")):
            return None
    expected = "2026-03-11T15:00:00Z or 03/11/2026 10:00:00"
    if zone is None:
        expected += " with its zone (--zone America/Chicago gives one)"
    at = line.value("time", expected, lambda text: _time(text, zone))
    return Fill(
        id=line.text("id"),
        ts_ns=calendar.timegm(at.utctimetuple()) * 1_000_000_000 + at.microsecond * 1000,
        contract=line.value(
            "contract",
            "a contract such as ESM6 or ESM2026",
            lambda text: _contract(text, at),
        ),
        side=line.value("side", "Buy or Sell", lambda text: _SIDES.get(text.lower())),
        quantity=line.value("quantity", "a whole number of 1 or more", _quantity),
        price=line.value("price", "a number such as 5012.25", _price),
        line=line.number,
    )


def _is_filled(text: str) -> bool | None:
    word = re.sub(r"[^a-z]", "", text.lower())
    return True if word in _FILLED else False if word in _UNFILLED else None


def _time(text: str, zone: tzinfo | None) -> datetime | None:
    at = None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        for form in _TIMES:
            try:
                at = datetime.strptime(text, form)
            except ValueError:
                continue
            break
    if at is None or at.year not in _YEARS or len(text) < len("2026-03-11T15:00"):  # a date alone is no time
        return None
    if at.tzinfo is None:
        return at.replace(tzinfo=zone).astimezone(UTC) if zone is not None else None
    return at.astimezone(UTC)


def _contract(text: str, at: datetime) -> Contract | None:
    contract = parse_ticker(text) or parse_contract(text, at.date())
    return contract if contract is not None and 0 <= contract.year - at.year <= _MAX_YEARS_OUT else None


def _quantity(text: str) -> int | None:
    number = _decimal(text)
    return int(number) if number is not None and number == int(number) and number >= 1 else None


def _price(text: str) -> float | None:
    number = _decimal(text)
    return None if number is None else float(number)


def _decimal(text: str) -> Decimal | None:
    """A plain decimal number: no currency, no exponent, so that nothing is read as another number."""
    return Decimal(text) if re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,40})?", text) else None


def _refuse_repeated(name: str, fills: Sequence[Fill]) -> None:
    """Two rows with one id are one fill counted twice."""
    seen: dict[str, int] = {}
    for fill in fills:
        if fill.id and fill.id in seen:
            raise StatementError(
                f"{name}:{fill.line}: fill {fill.id} stands in line {seen[fill.id]} already; nothing was compared"
            )
        seen[fill.id] = fill.line
