"""`rooney reconcile`: the broker's export against a ledger. Columns may be called what they like, values may not."""

import csv
import io
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooney.market.instruments import Contract
from rooney.ops.broker_fills import Fill, StatementError, parse_statement, read_statement
from tests.support.broker_exports import BOUGHT, CHICAGO, tradovate
from tests.support.command_line import Bench
from tests.support.minutes import ENTERED, LEAVE, QUIET, closes

Make = Callable[..., Bench]
ORDERS_HEADER = (
    "orderId,Account,Order ID,B/S,Contract,Product,Product Description,avgPrice,filledQty,Fill Time,lastCommandId,"
    "Status,Timestamp,Date,Quantity,Text,Type,Limit Price,Stop Price,Filled Qty,Avg Fill Price"
)


AT = int(datetime(2026, 3, 11, 15, 4, tzinfo=UTC).timestamp()) * 1_000_000_000


# ── the file ──


def test_a_tradovate_fills_report_is_read_by_its_utc_time() -> None:
    (fill,) = parse_statement(tradovate((AT, "ESM6", "Buy", 2, 6961.25)), "f.csv")
    assert fill == Fill("1", AT + 83_000_000, Contract("ES", 2026, 6), 1, 2, 6961.25, 2)


def test_a_tradovate_orders_report_gives_the_filled_orders_in_the_zone_given() -> None:
    text = (
        f"{ORDERS_HEADER}\n"
        "1,D,1, Buy,ESM6,ES,E-mini,6961.25,1,03/11/2026 10:04:05,1, Filled,,3/11/26,1,,Market,,,1,6961.25\n"
        "2,D,2, Sell,ESM6,ES,E-mini,,,,2, Canceled,,3/11/26,1,,Limit,6970,,,\n"
        "3,D,3, Sell,ESM6,ES,E-mini,6970,1,03/11/2026 10:06:00,3, Canceled,,3/11/26,3,,Limit,6970,,1,6970\n"
    )
    fills = parse_statement(text, "o.csv", CHICAGO)
    assert [(fill.side, fill.quantity, fill.price) for fill in fills] == [(1, 1, 6961.25), (-1, 1, 6970.0)]
    assert fills[0].ts_ns == AT + 5_000_000_000


def test_a_table_with_other_names_and_tickers_is_read_too() -> None:
    text = "Ticker;Action;Qty;Average Fill Price;Filled At\nESM2026;sell;3;6961.25;2026-03-11T15:04:00+00:00\n"
    (fill,) = parse_statement(text, "t.csv")
    assert (fill.contract, fill.side, fill.quantity, fill.ts_ns) == (Contract("ES", 2026, 6), -1, 3, AT)


def test_a_price_is_read_from_the_decimal_column_beside_the_fractions_for_people() -> None:
    header = "orderId,Account,B/S,Contract,avgPrice,filledQty,Fill Time,Status,Filled Qty,Avg Fill Price,decimalFillAvg"
    rows = ["1,D, Buy,ZCZ6,445.25,2,09/14/2026 09:30:00, Filled,2,445'2,445.25"]
    rows.append("2,D, Sell,ZCZ6,,2,09/14/2026 09:31:00, Filled,2,445'5,445.083333333333333333")
    first, second = parse_statement("\n".join((header, *rows)), "o.csv", CHICAGO)
    assert (first.price, second.price) == (445.25, 445.083333333333333333)
    shown_only = header.replace("avgPrice", "x").replace(",decimalFillAvg", ",y")
    with pytest.raises(StatementError, match=r"'Avg Fill Price': expected a number .* got \"445'2\""):
        parse_statement(f"{shown_only}\n{rows[0]}", "o.csv", CHICAGO)


@pytest.mark.parametrize(
    ("delimiter", "text", "price"),
    [
        (",", '"29,007.75"', 29007.75),
        (",", '"44,123"', 44123.0),
        (";", "29,007.75", 29007.75),
        (";", "1,234,567.5", 1234567.5),
        (";", "1,085", None),  # of which a comma makes a decimal number
        (",", '"29,07.75"', None),
    ],
)
def test_thousands_are_separated_where_nothing_else_can_be_meant(
    delimiter: str, text: str, price: float | None
) -> None:
    row = delimiter.join(["2026-03-11T15:04:00Z", "ESM6", "buy", "1", text])
    whole = f"{PLAIN.replace(',', delimiter)}\n{row}\n"
    if price is None:
        with pytest.raises(StatementError, match="'price': expected a number such as"):
            parse_statement(whole, "f.csv")
    else:
        assert parse_statement(whole, "f.csv")[0].price == price


PLAIN = "time,contract,side,quantity,price"
WRONG = [
    ("2026-03-11T15:04:00Z,ESM6,Bought,1,1", "'side': expected Buy or Sell, got 'Bought'"),
    ("2026-03-11T15:04:00Z,ESM6,buy,1.5,1", "'quantity': expected a whole number of 1 or more, got '1.5'"),
    ("2026-03-11T15:04:00Z,ESM6,buy,0,1", "'quantity': expected a whole number of 1 or more, got '0'"),
    ("2026-03-11T15:04:00Z,ESM6,buy,1,$5", "'price': expected a number such as 5012.25, got '$5'"),
    ("2026-03-11T15:04:00Z,ESM6,buy,1,nan", "'price': expected a number such as 5012.25, got 'nan'"),
    ("2026-03-11T15:04:00Z,ESM6,buy,1,1e3", "'price': expected a number such as 5012.25, got '1e3'"),
    ("2026-03-11T15:04:00Z,ES,buy,1,1", "'contract': expected a contract such as ESM6 or ESM2026, got 'ES'"),
    ("2026-03-11T15:04:00,ESM6,buy,1,1", "with its zone"),
    ("2026-03-11,ESM6,buy,1,1", "got '2026-03-11'"),
    ("1965-03-11T15:04:00Z,ESM6,buy,1,1", "'time': expected 2026-03-11T15:00:00Z"),
    ("0001-01-01T00:00:00+05:00,ESM6,buy,1,1", "'time': expected 2026-03-11T15:00:00Z"),
    ("9999-12-31T23:59:59-05:00,ESM6,buy,1,1", "'time': expected 2026-03-11T15:00:00Z"),
    ("2026-03-11T15:04:00Z,ESM0000,buy,1,1", "'contract': expected a contract such as ESM6 or ESM2026, got 'ESM0000'"),
    ("2026-03-11T15:04:00Z,ESM2020,buy,1,1", "'contract': expected a contract such as ESM6 or ESM2026, got 'ESM2020'"),
    ("2026-03-11T15:04:00Z,ESZ25,buy,1,1", "'contract': expected a contract such as ESM6 or ESM2026, got 'ESZ25'"),
    ("2026-03-11T15:04:00Z,ESM6,buy,1", "expected 5 columns as in the first line, got 4"),
]


@pytest.mark.parametrize(("row", "said"), WRONG)
def test_a_value_that_is_not_what_it_should_be_is_named_with_file_line_and_column(row: str, said: str) -> None:
    good = "2026-03-11T15:04:00Z,ESM6,buy,1,1"
    with pytest.raises(StatementError, match=f"^f.csv:3: .*{re.escape(said)}") as found:
        parse_statement(f"{PLAIN}\n{good}\n{row}\n", "f.csv")
    assert str(found.value).endswith("nothing was compared")


@pytest.mark.parametrize("missing", PLAIN.split(","))
def test_a_column_that_is_missing_is_named_with_the_names_it_may_have(missing: str) -> None:
    header = ",".join(name for name in PLAIN.split(",") if name != missing)
    with pytest.raises(StatementError, match=rf"^f.csv:1: no column for the {missing} \(known names: .*\); it has "):
        parse_statement(header + "\n", "f.csv")


def test_a_fill_that_stands_there_twice_is_refused() -> None:
    text = tradovate((AT, "ESM6", "Buy", 1, 1.0))
    with pytest.raises(StatementError, match=r"f\.csv:3: fill 1 stands in line 2 already"):
        parse_statement(text + text.splitlines()[1] + "\n", "f.csv")


def test_fills_of_several_accounts_need_a_choice() -> None:
    other = tradovate((AT, "ESM6", "Buy", 1, 1.0), account="DEMO2").splitlines()[1].replace("1,91", "2,92", 1)
    text = tradovate((AT, "ESM6", "Buy", 1, 1.0)) + other.replace(",1,91,", ",2,92,") + "\n"
    with pytest.raises(StatementError, match=r"2 accounts \(DEMO1, DEMO2\)"):
        parse_statement(text, "f.csv")
    assert len(parse_statement(text, "f.csv", account="DEMO2")) == 1


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StatementError, match="it is not UTF-8 text"):
        read_statement(tmp_path / "f.csv")


FILL = st.builds(
    Fill,
    id=st.just(""),
    ts_ns=st.integers(AT, AT + 10**16).map(lambda ns: ns - ns % 1000),
    contract=st.builds(
        Contract, st.sampled_from(["ES", "6A", "MES", "ZC"]), st.integers(2026, 2031), st.integers(1, 12)
    ),
    side=st.sampled_from([1, -1]),
    quantity=st.integers(1, 999),
    price=st.decimals(-999, 99_999, places=5, allow_nan=False).map(float),
    line=st.just(0),
)
NAMES = {
    "time": ["_timestamp", "Fill Time", "Filled At", "time"],
    "contract": ["Contract", "TICKER", "symbol"],
    "side": ["B/S", "Side", "action"],
    "quantity": ["Filled Qty", "quantity", "Qty"],
    "price": ["Avg Fill Price", "Price", "average_price"],
}


@given(
    st.lists(FILL, max_size=8),
    st.fixed_dictionaries({key: st.sampled_from(names) for key, names in NAMES.items()}),
    st.permutations(["time", "contract", "side", "quantity", "price", "note"]),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=150, deadline=None)
def test_any_order_names_and_separator_give_the_same_fills(
    fills: list[Fill], names: dict[str, str], order: list[str], delimiter: str, end: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow([names.get(key, "Text, for people") for key in order])
    for fill in fills:
        seconds, rest = divmod(fill.ts_ns, 1_000_000_000)
        at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
        cells = {
            "time": at.isoformat(),
            "contract": fill.contract.ticker,
            "side": " Buy" if fill.side > 0 else "sell ",
            "quantity": str(fill.quantity),
            "price": f"{fill.price:.5f}",
            "note": 'he said "so", twice',
        }
        writer.writerow([cells[key] for key in order])
    found = parse_statement(out.getvalue(), "f.csv")
    wanted = sorted(fills, key=lambda fill: fill.ts_ns)
    assert [(f.ts_ns, f.contract, f.side, f.quantity, f.price) for f in found] == [
        (f.ts_ns, f.contract, f.side, f.quantity, f.price) for f in wanted
    ]


@given(st.text(max_size=300) | st.lists(st.text("0123456789,;\n\"'ESM6buy-.:TZ", max_size=60), max_size=5).map("".join))
@settings(max_examples=300, deadline=None)
def test_whatever_a_file_holds_it_is_fills_or_an_error_of_ours(text: str) -> None:
    for whole in (text, f"{PLAIN}\n{text}"):
        try:
            fills = parse_statement(whole, "f.csv")
        except StatementError:
            continue
        assert all(fill.quantity >= 1 and fill.side in (1, -1) for fill in fills)


# ── against a ledger ──

TRADED = [*ENTERED, *closes(LEAVE, QUIET, 99.0, start=ENTERED[-1].ts_close)]
SOLD = TRADED[4].ts_close


def exported(tmp_path: Path, *fills: tuple[int, str, str, int, float]) -> Path:
    path = tmp_path / "fills.csv"
    path.write_text(tradovate(*fills))
    return path


def assumed(one: Bench) -> tuple[float, float]:
    (trade,) = one.read().trades
    return trade.entry_price, trade.exit_price


def test_executions_at_the_assumed_prices_leave_nothing_to_do(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin(TRADED)
    entry, exit_ = assumed(one)
    path = exported(tmp_path, (BOUGHT, "ESM6", "Buy", 1, entry), (SOLD, "ESM6", "Sell", 1, exit_))
    assert one.rooney("reconcile", "a", path) == (
        "a: 2 assumed fills found at the broker\ncash to correct by +0.00 USD, 0 entry prices\n"
    )


def test_differences_are_shown_and_change_nothing(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin(TRADED)
    entry, exit_ = assumed(one)
    path = exported(
        tmp_path,
        (BOUGHT, "ESM6", "Buy", 1, entry - 0.25),
        (SOLD, "ESM6", "Sell", 1, exit_ - 0.5),
        (SOLD + 10**9, "NQM6", "Buy", 1, 20000.0),
    )
    shown = one.rooney("reconcile", "a", path, code=1)
    assert shown == (
        "a: 2 assumed fills found at the broker\n"
        f"  2026-03-11 15:02Z  ESM6  bought 1  assumed {entry:g}  filled at {entry - 0.25:g}    +12.50 USD\n"
        f"  2026-03-11 15:05Z  ESM6  sold 1    assumed {exit_:g}   filled at {exit_ - 0.5:g}  -25.00 USD\n"
        "  not in the ledger: 2026-03-11 15:05:01Z  NQM6  bought 1  at 20000\n"
        "  NQM6: the ledger has +0 open, the executions of this file add up to +1\n"
        "  Look at the broker, then: rooney position a SYMBOL QUANTITY --price PRICE\n"
        "cash to correct by -12.50 USD, 0 entry prices\n"
    )
    assert one.read().acts == ()


@pytest.mark.parametrize("is_alive", [True, False], ids=["alive", "dead"])
def test_applied_the_real_prices_are_in_the_cash_once(bench: Make, tmp_path: Path, is_alive: bool) -> None:
    one = bench()
    worker = one.begin(TRADED)
    entry, exit_ = assumed(one)
    cash = one.read().account.cash_usd  # type: ignore[union-attr]
    path = exported(tmp_path, (BOUGHT, "ESM6", "Buy", 1, entry + 0.5), (SOLD, "ESM6", "Sell", 1, exit_))
    if not is_alive:
        worker.kill(signal.SIGKILL)
    sure = ("--apply", "--reason", "month end", "--yes", "--clock", "replay")
    for _ in range(2):  # the second time there is nothing left to correct
        one.rooney("reconcile", "a", path, *sure, code=None)
    if not is_alive:
        one.rig.start()
    one.obeyed()
    one.more(QUIET)
    assert one.read().account.cash_usd == cash - 25.0  # type: ignore[union-attr]
    assert len(one.read().acts) == 1


def test_applied_an_open_position_has_its_real_entry_price(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin()
    path = exported(tmp_path, (BOUGHT, "ESM6", "Buy", 1, 105.0))
    one.rooney("reconcile", "a", path, "--apply", "--reason", "real", "--yes", code=1)
    one.obeyed()
    one.more(QUIET)
    assert one.read().held[0].entry_price == 105.0


def test_a_file_that_cannot_be_read_is_a_failure(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    done: Any = one.run("reconcile", "a", tmp_path / "none.csv")
    assert (done.returncode, done.stderr) == (
        2,
        f"rooney: {tmp_path}/none.csv: cannot be read: No such file or directory; nothing was compared\n",
    )
