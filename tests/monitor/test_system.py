"""What everyone who looks sees: equal to the ledger, whatever is down, and told apart by how grave it is."""

import contextlib
import math
import os
import sqlite3
import statistics
import struct
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.validation import sharpe as selection
from rooney.errors import LedgerError
from rooney.kernels.codes import Pending
from rooney.ledger.latency import BOUNDS_S, Buckets
from rooney.ledger.records import Account, TradeRow, decode_book
from rooney.ledger.snapshot import LedgerView, Snapshot, read_ledger
from rooney.ledger.writer import Ledger
from rooney.market.messages import HubStatus, InstrumentState, Minute
from rooney.market.sessions import MINUTE_NS, trade_date
from rooney.monitor.conditions import Severity, conditions, state_of
from rooney.monitor.market import Market, Quote, freshness
from rooney.orders.control import Act, Command, Level, Verb, set_switch
from rooney.orders.intents import Said, Side
from rooney.performance.measures import correlation, curve, daily, measure, sharpe
from rooney.systemd import UnitsView
from tests.support.command_line import Bench
from tests.support.dashboard import look, looker
from tests.support.engines import engine
from tests.support.minutes import BUY, ENTERED, LEAVE, QUIET, bar, closes
from tests.support.paths import GOLDEN
from tests.support.times import chicago
from tests.support.webhook_faults import Fault

Make = Callable[..., Bench]
NOW = chicago("2026-03-11 10:00")


# ── the ledger ──


def test_a_view_says_what_the_ledger_says_to_the_operator(bench: Make) -> None:
    one = bench("a", faults=(Fault("close", at=(3,)),), on_unconfirmed_entry="hold")
    one.begin([*ENTERED, *closes(LEAVE, 103.5, QUIET, BUY, 101.25, start=ENTERED[-1].ts_close)])
    reading, snapshot = one.read(), LedgerView(one.rig.ledger()).look()
    assert snapshot is not None and snapshot.account is not None and reading.account is not None
    assert (snapshot.name, snapshot.ts_mark, snapshot.mode) == (reading.name, reading.ts_mark, reading.mode)
    assert snapshot.account == reading.account
    assert snapshot.orders == reading.orders
    assert repr(snapshot.trades) == repr(reading.trades)  # as text: NaN equals nothing
    assert len(snapshot.trades) == 1 and snapshot.orders[-1].needs_person
    assert repr(snapshot.held) == repr(reading.held)
    assert snapshot.start_usd == pytest.approx(150_000.0, abs=1e-6)


def test_an_unchanged_ledger_is_not_read_again_and_a_changed_one_is(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    view = LedgerView(one.rig.ledger())
    first = view.look()
    assert view.look() is first
    one.more(QUIET)
    second = view.look()
    assert second is not first and second is not None and second.ts_mark == one.read().ts_mark


def test_looking_leaves_the_folder_of_a_ledger_as_it_is(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:2]).kill(15)
    folder = one.rig.state()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert LedgerView(one.rig.ledger()).look() is not None
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_trades_of_another_ledger_in_the_same_place_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    view = LedgerView(path)
    for n in (2, 1):
        for old in tmp_path.iterdir():
            old.unlink()
        ledger = Ledger(path, "a")
        one = engine()
        for k in range(n):
            _commit_trade(ledger, one, NOW + k * MINUTE_NS, 10.0 * (k + 1))
        ledger.close()
        snapshot = view.look()
        assert snapshot is not None and [trade.pnl_usd for trade in snapshot.trades] == [10.0, 20.0][:n]


def _commit_trade(ledger: Ledger, one: Any, ts_mark: int, pnl_usd: float) -> None:
    from rooney.orders.decisions import Trade

    trade = Trade("ES", "ESM6", 1, 1, ts_mark, 100.0, ts_mark, 101.0, "rule", pnl_usd, 4.0, 3)
    ledger.commit_mark(ts_mark, [], [], [], [trade], 1, 0, {}, one.book())


@cache
def _layout() -> str:
    return engine(("ES", "NQ")).book().layout


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(allow_nan=True), min_size=5, max_size=5), st.integers(-1, 1), st.integers(0, 3))
def test_a_book_is_decoded_by_names_whatever_their_order_and_whatever_else_is_there(
    prices: list[float], side: int, pending: int
) -> None:
    layout = msgspec.json.decode(_layout())
    for kind in ("account", "position"):
        layout[kind] = [*reversed(layout[kind]), ["of_a_later_version", "<f8"]]
    names = [name for name, _ in layout["position"]]
    values: dict[str, Any] = dict.fromkeys(names, 0) | dict(
        zip(("entry_price", "last_price", "stop_price", "target_price", "score"), prices, strict=True)
    )
    values |= {"side": side, "quantity": 3, "pending": pending, "contract": 202606, "last_contract": 202606}
    values |= {"pending_contract": 202606}
    form = "<" + "".join({"<i8": "q", "<f8": "d"}[kind] for _, kind in layout["position"])
    account = struct.pack(
        "<" + "".join({"<i8": "q", "<f8": "d"}[k] for _, k in layout["account"]),
        *[1 if kind == "<i8" else 5.0 for _, kind in layout["account"]],
    )
    data = account + struct.pack(form, *[values[name] for name in names]) * 2
    found, held = decode_book(msgspec.json.encode(layout).decode(), data)
    assert found == Account(5.0, 5.0, 5.0, 5.0, True, True, 1)
    assert [one.symbol for one in held] == ["ES", "NQ"]
    for one in held:
        assert (one.side, one.quantity, one.pending) == (side, 3, tuple(Pending)[pending])
        got = np.array([one.entry_price, one.mark, one.stop_price, one.target_price, one.score])
        np.testing.assert_array_equal(got, np.array(prices))


def test_a_position_in_the_contract_that_was_left_is_marked_at_that_contracts_price() -> None:
    layout = msgspec.json.decode(_layout())
    known = {"side": 1, "contract": 202606, "last_contract": 202609, "last_price": 110.0, "left_price": 101.0}
    data = _packed(layout["account"], {}) + _packed(layout["position"], known) * 2
    _, (held, _) = decode_book(_layout(), data)
    assert (held.contract, held.mark) == ("ESM6", 101.0)


def _packed(fields: list[list[str]], known: dict[str, float]) -> bytes:
    return b"".join(struct.pack({"<i8": "<q", "<f8": "<d"}[kind], known.get(name, 0)) for name, kind in fields)


def test_a_ledger_of_the_first_schema_is_read_as_it_is_by_all(tmp_path: Path) -> None:
    """The fields of a book are those of the release that wrote such ledgers."""
    layout = {
        "symbols": ["ES"],
        "account": [
            ["cash", "<f8"],
            ["equity", "<f8"],
            ["day_start_equity", "<f8"],
            ["halted", "<i8"],
            ["gap_date", "<i8"],
        ],
        "position": [[name, "<f8"] for name in ("entry_price", "costs", "last_price", "left_price")]
        + [
            [name, "<i8"]
            for name in (
                "side",
                "quantity",
                "contract",
                "entry_ts",
                "bars_held",
                "pending",
                "pending_side",
                "pending_quantity",
                "pending_contract",
                "acknowledged",
                "last_contract",
            )
        ],
    }
    book = _packed(layout["account"], {"cash": 7.0, "equity": 9.0}) + _packed(layout["position"], {"side": -1})  # type: ignore[arg-type]
    path = tmp_path / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript((GOLDEN / "ledger_v1.sql").read_text())
        db.execute("UPDATE status SET layout = ?, book = ?", (msgspec.json.encode(layout).decode(), book))
        db.commit()
    reading, snapshot = read_ledger(path), LedgerView(path).look()
    assert snapshot is not None and reading.account is not None
    assert (reading.orders, repr(reading.trades)) == (snapshot.orders, repr(snapshot.trades))
    assert [order.events[-1].said for order in reading.orders] == [Said.NOBODY] * 3
    assert (reading.acts, snapshot.cash_acts) == ((), ())
    assert (reading.account.open_usd, reading.account.drawdown_usd) == (2.0, 0.0)
    assert repr(reading.held) == repr(snapshot.held)
    assert reading.held[0].side is Side.SHORT and math.isnan(reading.held[0].stop_price)


@pytest.mark.parametrize(
    "damage", ["UPDATE status SET book = x'00'", "UPDATE status SET layout = '{}'", "DROP TABLE event"]
)
def test_a_ledger_that_cannot_be_understood_says_so_and_stops_nobody(bench: Make, damage: str) -> None:
    one = bench("a", "b")
    one.begin(ENTERED[:2])
    one.rig.start("b")
    one.rig.wait_position(ENTERED[1].ts_close, "b")
    for forked in one.rig.started:
        forked.kill(15)
    with contextlib.closing(sqlite3.connect(one.rig.ledger("a"), isolation_level=None)) as db:
        db.execute(damage)
    for reader in (read_ledger, lambda path: LedgerView(path).look()):
        with pytest.raises(LedgerError, match=r"cannot (be )?read.*left untouched"):
            reader(one.rig.ledger("a"))
    system = look(one)
    assert [one_.snapshot is None for one_ in system.strategies] == [True, False]
    assert state_of(system.strategies[0], system.market) == ("UNREADABLE", Severity.CRITICAL)
    assert conditions(system)[0].severity is Severity.CRITICAL


# ── the system ──


def test_everything_is_shown_with_redis_dead_and_the_worker_gone(bench: Make) -> None:
    one = bench()
    one.begin().kill()
    one.rig.redis_socket = Path(str(one.rig.redis_socket) + ".gone")
    system = look(one, replay=False)
    snapshot = system.strategies[0].snapshot
    assert snapshot is not None and [held.contract for held in snapshot.open] == ["ESM6"]
    found = {(c.about, c.severity) for c in conditions(system)}
    assert found >= {("redis", Severity.CRITICAL), ("a", Severity.CRITICAL)}
    assert "positions are open" in " ".join(c.text for c in conditions(system))


def test_a_strategy_that_is_no_longer_configured_is_not_forgotten(bench: Make) -> None:
    one = bench("a", "b")
    one.begin()
    del one.rig.blocks["a"]
    system = look(one)
    assert [s.name for s in system.strategies] == ["b", "a"]
    found = next(c for c in conditions(system) if "not in the configuration" in c.text)
    assert (found.severity, found.do) == (Severity.CRITICAL, ("rooney flatten a",))


@pytest.mark.parametrize("level", list(Level))
def test_a_switch_is_told_with_who_and_why_and_how_to_lift_it(bench: Make, level: Level) -> None:
    one = bench()
    one.begin()
    set_switch(one.control, "all", level, "ada", "unsure")
    found = next(c for c in conditions(look(one)) if "switch" in c.text)
    assert "unsure (ada)" in found.text and found.do == ("rooney resume --all",)
    trapped = level is Level.STOP  # exits of an open position are held back
    assert found.severity is (Severity.CRITICAL if trapped else Severity.ATTENTION)


def test_a_worker_that_runs_is_told_from_one_that_does_not(bench: Make) -> None:
    one = bench()
    worker = one.begin(ENTERED[:1])
    assert look(one).strategies[0].is_running
    worker.kill()
    system = look(one)
    assert state_of(system.strategies[0], system.market) == ("down", Severity.ATTENTION)


def test_an_exit_that_is_refused_is_critical_and_named_with_its_remedy(bench: Make) -> None:
    one = bench(faults=(Fault("redirect", at=(2,)),))
    one.begin([*ENTERED, *closes(LEAVE, start=ENTERED[-1].ts_close)])
    found = [c for c in conditions(look(one)) if "refused" in c.text and c.kind != "breaker"]
    assert [c.severity for c in found] == [Severity.CRITICAL]
    assert found[0].do[0] == "rooney flatten a ES"


# ── the market ──


def _market(**changes: Any) -> Market:
    hub = HubStatus("live", NOW, NOW, NOW, 1, 0, {}, {}, instruments=changes.pop("told", {}))
    quote = Quote("ES", bar("ES", NOW, 100.0), (), None, changes.pop("quote", "open"), "ESM6", None)
    usual: dict[str, Any] = {
        "away": "",
        "hub": hub,
        "info": None,
        "ts_tape": NOW,
        "version": 1,
        "quotes": {"ES": quote},
        "gaps": 0,
        "repaired": 0,
    }
    return Market(**(usual | changes))


@pytest.mark.parametrize(
    ("changes", "after_s", "state"),
    [
        ({}, 1, "fresh"),
        ({}, 89, "fresh"),
        ({}, 91, "late"),
        ({}, 151, "stale"),
        ({"ts_tape": NOW + MINUTE_NS}, 61, "quiet"),
        ({"told": {"ES": "dead"}}, 1, "stale"),
        ({"told": {"ES": "refused"}}, 1, "refused"),
        ({"quote": "refused"}, 1, "refused"),
        ({"told": {"ES": "incomplete"}}, 1, "incomplete"),
        ({"quote": "incomplete"}, 1, "incomplete"),
        ({"hub": None}, 1, "stale"),
        ({"away": "gone"}, 1, "stale"),
        ({"away": "gone"}, 6 * 3600 + 60, "closed"),  # 16:01 Chicago
        ({}, 7 * 3600 + 60, "quiet"),  # 17:01: the session has only begun
        ({}, 7 * 3600 + 151, "stale"),
    ],
)
def test_an_instrument_is_as_fresh_as_the_session_lets_it_be(changes: dict[str, Any], after_s: int, state: str) -> None:
    found = freshness(_market(**changes), "ES", NOW + after_s * 1_000_000_000)[0]
    assert found == state


def test_the_market_follows_the_tape_and_begins_again_with_another_one(bench: Make) -> None:
    one = bench()
    view = looker(one)
    one.rig.publish(closes(QUIET, 101.5))
    market = view.look().market
    assert market.quotes["ES"].bar is not None and market.quotes["ES"].bar.close == 101.5
    assert [price for _, price in market.quotes["ES"].closes] == [QUIET, 101.5]
    version = market.version
    assert view.look().market.version == version
    one.rig.bus._redis.flushall()
    one.rig.publish(closes(99.0, start=NOW - 30 * MINUTE_NS))
    market = view.look().market
    assert [price for _, price in market.quotes["ES"].closes] == [99.0]
    view.close()


def test_states_and_gaps_of_the_tape_are_taken_in(bench: Make) -> None:
    one = bench()
    view = looker(one)
    dead = Minute(NOW + MINUTE_NS, [], [bar("ES", NOW + MINUTE_NS, 100.0)], {"ES": int(InstrumentState.DEAD)}, 2)
    one.rig.publish([dead])
    one.rig.publish_raw(NOW + 2 * MINUTE_NS, b"nothing of the kind")
    market = view.look().market
    assert (market.quotes["ES"].told, market.gaps) == ("dead", 2)
    view.close()


# ── measures ──

EARLY = chicago("2026-01-05 10:00")


def _snapshot(pnl: list[tuple[int, float]], open_usd: float = 0.0, cash_acts: tuple[Any, ...] = ()) -> Snapshot:
    trades = tuple(
        TradeRow("ES", "ESM6", 1, 1, ts - MINUTE_NS, 100.0, ts, 101.0, "rule", usd, 4.0, 2, seq=k, ts_mark=ts)
        for k, (ts, usd) in enumerate(sorted(pnl), 1)
    )
    cash = 1_000.0 + sum(usd for _, usd in pnl) + sum(usd for _, usd in cash_acts)
    account = Account(cash, cash + open_usd, cash + open_usd, 1_000.0, False, False, 0)
    ts = max([EARLY, *(ts for ts, _ in pnl)]) + MINUTE_NS
    acts = tuple(
        Act(k, at, Command(k, Verb.CASH, "ada", "reconciled", usd=usd), is_obeyed=True)
        for k, (at, usd) in enumerate(cash_acts)
    )
    return Snapshot(
        path=Path("a"), name="a", ts_mark=ts, ts_wall=ts, marks=1, account=account, trades=trades, acts=acts
    )


DAY_NS = 86_400_000_000_000
_PNL = st.lists(
    st.tuples(st.integers(0, 120).map(lambda k: EARLY + k * DAY_NS), st.integers(-500, 500).map(float)), max_size=40
)


@settings(deadline=None, max_examples=30)
@given(_PNL, st.integers(-300, 300), st.lists(st.integers(-50, 50), max_size=2))
def test_the_curve_begins_with_the_first_cash_and_ends_with_equity(
    pnl: list[tuple[int, float]], open_usd: int, acts: list[int]
) -> None:
    snapshot = _snapshot(pnl, open_usd, tuple((EARLY + DAY_NS, float(usd)) for usd in acts))
    points = curve(snapshot)
    assert points[0].equity_usd == pytest.approx(1_000.0)
    assert snapshot.account is not None and points[-1].equity_usd == snapshot.account.equity_usd
    peak = np.maximum.accumulate([point.equity_usd for point in points])
    np.testing.assert_allclose([p.equity_usd + p.drawdown_usd for p in points], peak, atol=1e-6)


def test_trades_that_close_in_one_minute_are_one_step_of_the_curve() -> None:
    points = curve(_snapshot([(EARLY, 500.0), (EARLY, -400.0)]))
    assert [point.equity_usd for point in points] == [1_000.0, 1_100.0, 1_100.0]
    assert all(point.drawdown_usd == 0.0 for point in points)


@settings(deadline=None, max_examples=30)
@given(_PNL)
def test_daily_pnl_covers_every_trade_date_and_adds_up(pnl: list[tuple[int, float]]) -> None:
    days = daily(_snapshot(pnl))
    assert sum(days.values()) == pytest.approx(sum(usd for _, usd in pnl))
    found = list(days)
    assert found == sorted(found) and all(day.weekday() < 5 for day in found)
    if pnl:
        assert found[0] == trade_date(min(ts for ts, _ in pnl)) and found[-1] == trade_date(max(ts for ts, _ in pnl))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-500, 500).map(float), max_size=90))
def test_the_sharpe_ratio_is_research_s_once_there_are_days_enough(days: list[float]) -> None:
    told = sharpe(days)
    if len(days) < 60:
        assert math.isnan(told)
    else:
        assert told == pytest.approx(selection.sharpe(np.array(days)) * math.sqrt(252), rel=1e-9, nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), max_size=60))
def test_the_correlation_is_pearson_s_of_common_days_once_there_are_enough(pairs: list[tuple[int, int]]) -> None:
    begin = date(2026, 1, 5)
    a = {begin + timedelta(days=k): float(x) for k, (x, _) in enumerate(pairs)}
    b = {begin + timedelta(days=k): float(y) for k, (_, y) in enumerate(pairs)} | {begin - timedelta(days=1): 5.0}
    value, days = correlation(a, b)
    assert days == len(pairs)
    try:
        expected = statistics.correlation(list(a.values()), [b[day] for day in a]) if days >= 30 else math.nan
    except statistics.StatisticsError:  # one of them never moves
        expected = math.nan
    assert value == pytest.approx(expected, nan_ok=True)


def test_what_cannot_be_told_is_not_a_number() -> None:
    snapshot = _snapshot([])
    found = measure(snapshot, curve(snapshot), daily(snapshot))
    assert all(math.isnan(value) for value in (found.win_rate, found.profit_factor, found.sharpe))


# ── latencies, units ──


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 5), min_size=1, max_size=50))
def test_buckets_count_every_value_once_and_quantiles_are_values(values: list[float]) -> None:
    buckets = Buckets()
    for value in values:
        buckets.add(value)
    for k, bound in enumerate(BOUNDS_S):
        assert sum(buckets.counts[: k + 1]) == sum(value <= bound for value in values)
    assert sum(buckets.counts) == len(values)
    p50, top = buckets.quantiles(0.5, 1.0)
    assert p50 in values and top == max(values)


def _group(root: Path, unit: str, cpu_us: int, memory: int | None, pids: str = "7\n") -> None:
    """A control group as the kernel shows it."""
    group = root / unit
    group.mkdir(exist_ok=True)
    (group / "cgroup.procs").write_text(pids)
    (group / "cpu.stat").write_text(f"usage_usec {cpu_us}\nuser_usec 1\nsystem_usec 1\n")
    if memory is not None:
        (group / "memory.current").write_text(f"{memory}\n")


def test_cpu_and_memory_of_a_unit_and_its_restarts(tmp_path: Path) -> None:
    view = UnitsView(tmp_path)
    _group(tmp_path, "rooney-hub.service", 1_000_000, 50_000_000)
    _group(tmp_path, "rooney-worker@a.service", 0, None)
    _group(tmp_path, "rooney-worker@gone.service", 5, 5, pids="")
    found = view.look(100.0)
    assert set(found) == {"rooney-hub.service", "rooney-worker@a.service"}
    assert (found["rooney-hub.service"].cpu_s, found["rooney-hub.service"].memory_bytes) == (1.0, 50_000_000)
    assert found["rooney-worker@a.service"].memory_bytes is None
    _group(tmp_path, "rooney-hub.service", 1_500_000, 50_000_000)
    view.look(102.0)
    assert view.load["rooney-hub.service"] == pytest.approx(0.25)
    os.rename(tmp_path / "rooney-hub.service", tmp_path / "old")
    _group(tmp_path, "rooney-hub.service", 10, 1)
    view.look(103.0)
    assert view.restarts == {"rooney-hub.service": 1, "rooney-worker@a.service": 0}
    assert UnitsView(tmp_path / "nowhere").look(1.0) == {}


def test_a_look_at_an_idle_system_is_cheap(bench: Make) -> None:
    one = bench("a", "b")
    one.begin()
    view = looker(one)
    view.look()
    began = time.process_time()
    for _ in range(100):
        view.look()
    assert (time.process_time() - began) / 100 < 0.02
    view.close()
