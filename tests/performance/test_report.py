"""Reports: what a day or a week was, as text, as a message and as one page that opens offline."""

import json
import re
import shutil
import struct
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rooney.alerts.outbox import of_directory
from rooney.cli import cli
from rooney.ledger.writer import Ledger
from rooney.market.sessions import MINUTE_NS
from rooney.orders.decisions import Book, Trade
from rooney.orders.notices import Turn
from rooney.performance import period as summary
from rooney.performance.report import minutes_in_session, notices, read
from tests.support.ledgers import commit
from tests.support.times import chicago
from tests.support.tools import BROWSER, needs

BEGIN = chicago("2026-03-10 17:00")  # of trade date 2026-03-11
_FIELDS = ("cash", "equity", "best_equity", "day_start_equity", "halted", "drawdown_halted", "gap_date")
LAYOUT = json.dumps(
    {"symbols": [], "account": [[name, "<f8" if k < 4 else "<i8"] for k, name in enumerate(_FIELDS)], "position": []}
)


def account(equity: float) -> Book:
    return Book(LAYOUT, struct.pack("<4d3q", equity, equity, 150_200.0, 150_000.0, 0, 0, 0))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two strategies over a trade date of 1,380 minutes: `quick` late in 2 of them, `slow` in 10, with a trade each."""
    directory = tmp_path_factory.mktemp("state")
    for name, late, pnl in (("quick", 2, 125.0), ("slow", 10, -1_250.5)):
        with closing(Ledger(directory / name / "ledger.sqlite", name)) as ledger:
            for k in range(1, 1_381):
                mark = BEGIN + k * MINUTE_NS
                trade = Trade("ES", "ESM6", 1, 1, mark - 3600 * 10**9, 5000.0, mark, 5010.0, "rule", pnl, 4.0, 8)
                latency_ns = 250_000_000 if k <= late else 3_000_000
                trades, book = [trade] if k == 700 else [], account(150_000.0 + (pnl if k >= 700 else 0.0))
                commit(ledger, mark, marks=k, latency_ns=latency_ns, trades=trades, book=book)
    return directory


def run(tmp_path: Path, state: Path, *arguments: str) -> Any:
    path = tmp_path / "config.yml"
    block = "{strategy: ibs, mode: dry, instruments: [ES]}"
    path.write_text(
        f"instruments: {{ES: {{}}, ZC: {{}}}}\nstrategies:\n  quick: {block}\n  slow: {block}\n  new: {block}\n"
    )
    return CliRunner().invoke(cli, ["report", "--config", str(path), "--state", str(state), *arguments])


def test_the_text_says_what_each_strategy_did_and_all_together(tmp_path: Path, state: Path) -> None:
    done = run(tmp_path, state, "--day", "2026-03-11")
    assert done.output.splitlines() == [
        "Trade date 2026-03-11 (P&L estimated: no fills are reported back)",
        "quick: +125.00 USD, 1 trade (1 won), orders: none, flat, 99.86% of 1,380 minutes within 200 ms",
        "slow: -1,250.50 USD, 1 trade (0 won), orders: none, flat, 99.28% of 1,380 minutes within 200 ms",
        "new: no ledger yet",
        "all: -1,125.50 USD, 2 trades (1 won)",
    ]
    assert done.exit_code == 0


def test_a_ledger_that_cannot_be_read_is_said_and_is_exit_status_1(tmp_path: Path, state: Path) -> None:
    shutil.copytree(state, tmp_path / "state")
    (tmp_path / "state" / "new").mkdir()
    (tmp_path / "state" / "new" / "ledger.sqlite").write_bytes(b"torn" * 1000)
    done = run(tmp_path, tmp_path / "state", "--day", "2026-03-11")
    assert done.exit_code == 1 and "new: " in done.output and "cannot be read" in done.output


@pytest.mark.parametrize(
    ("groups", "begin", "end", "minutes"),
    [
        ({"equity"}, "2026-03-10 17:00", "2026-03-11 17:00", 1_380),
        ({"grains"}, "2026-03-10 17:00", "2026-03-11 17:00", 765 + 290),  # 19:00 to 07:45, 08:30 to 13:20
        ({"equity", "grains"}, "2026-03-10 17:00", "2026-03-11 17:00", 1_380),
        ({"equity"}, "2026-03-13 17:00", "2026-03-15 17:00", 0),
        ({"equity"}, "2026-03-11 08:30", "2026-03-11 09:00", 30),
    ],
)
def test_minutes_in_session_are_those_of_the_tape(groups: set[str], begin: str, end: str, minutes: int) -> None:
    assert minutes_in_session(groups, chicago(begin), chicago(end)) == minutes


def test_minutes_a_worker_missed_count_as_late(state: Path) -> None:
    (one,) = read(["quick"], {"equity"}, summary.week_of(date(2026, 3, 11)), state, chicago("2026-03-13 18:00"))
    assert one.pace is not None
    assert (one.pace.expected, one.pace.acted, one.pace.is_kept) == (5 * 1_380, 1_380, False)
    assert one.pace.share == pytest.approx(1_378 / 6_900)


@pytest.mark.parametrize(
    ("at", "week"),
    [
        ("2026-03-13 15:59", (date(2026, 3, 2), date(2026, 3, 6))),
        ("2026-03-13 16:00", (date(2026, 3, 9), date(2026, 3, 13))),
        ("2026-03-15 18:00", (date(2026, 3, 9), date(2026, 3, 13))),
        ("2026-03-17 12:00", (date(2026, 3, 9), date(2026, 3, 13))),
    ],
)
def test_a_weekly_report_is_about_the_last_week_that_ended(at: str, week: tuple[date, date]) -> None:
    period = summary.last_week_ended(chicago(at))
    assert (period.first, period.last) == week


def test_less_than_the_promise_within_a_week_is_an_alert_and_its_end_is_no_news(state: Path) -> None:
    week = summary.week_of(date(2026, 3, 11))
    now = chicago("2026-03-11 17:00")
    found = read(["quick", "slow"], {"equity"}, summary.Period(week.first, date(2026, 3, 11)), state, now)
    kept = [one for one in found if one.pace is not None]
    # both stood still on two of the days
    assert [notice.turn for _, notice in notices(week, kept) if notice.about == "pace"] == [Turn.BEGINS, Turn.BEGINS]
    whole = read(["quick"], {"equity"}, summary.day_of(date(2026, 3, 11)), state, now)
    (told,) = [notice for _, notice in notices(week, whole) if notice.about == "pace"]
    assert told.turn is Turn.ENDS and told.level < 25
    assert "99.86% of the minutes in session were acted on within 200 ms (promised 99.5%)" in told.text


def test_what_is_posted_is_what_the_sender_takes(tmp_path: Path, state: Path) -> None:
    done = run(tmp_path, state, "--day", "2026-03-11", "--post", "--outbox", str(tmp_path / "outbox"))
    found, after = of_directory(tmp_path / "outbox", 0)
    assert [(scope, notice.about) for scope, notice, _ in found] == [
        (scope, "report") for scope in ("", "quick", "slow", "new")
    ]
    assert found[0][1].text == done.output.strip() and after > 0
    assert of_directory(tmp_path / "outbox", after) == ([], after)


def test_the_page_has_the_ledgers_numbers_and_wants_nothing_from_elsewhere(tmp_path: Path, state: Path) -> None:
    assert run(tmp_path, state, "--day", "2026-03-11", "--html", str(tmp_path)).exit_code == 0
    page = (tmp_path / "daily-2026-03-11.html").read_text()
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://", page)
    for wanted in ("\u22121,125.50", "+125.00", "99.86 %", "99.28 %", "1,380 of 1,380", "ESM6", "no ledger yet"):
        assert wanted in page, wanted
    assert page.count('<svg class="plot"') == 1 + 2 * 2


@needs(BROWSER)
def test_the_page_fits_a_phone_and_a_desk_in_light_and_dark(tmp_path: Path, state: Path) -> None:
    from playwright.sync_api import sync_playwright

    run(tmp_path, state, "--day", "2026-03-11", "--html", str(tmp_path / "report.html"))
    asked: list[str] = []
    said: list[str] = []
    inks = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(BROWSER), args=["--no-sandbox"])
        for scheme, width in (("light", 1200), ("dark", 390)):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda line: said.append(line.text))
            page.goto(f"file://{tmp_path / 'report.html'}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            inks.add(page.evaluate("getComputedStyle(document.body).color"))
        browser.close()
    assert len(inks) == 2 and said == [] and set(asked) == {f"file://{tmp_path / 'report.html'}"}


def test_the_report_as_json_has_what_the_text_has(tmp_path: Path, state: Path) -> None:
    found = json.loads(run(tmp_path, state, "--day", "2026-03-11", "--json").output)["strategies"]
    assert found["slow"]["pace"]["within"] == 1_370 and found["slow"]["day"]["pnl_usd"] == -1_250.5
    assert found["new"] == {"lack": "no ledger yet"}
