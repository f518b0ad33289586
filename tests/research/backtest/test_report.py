"""The report is one file that asks nobody for anything and says what summary.json says."""

import http.server
import json
import re
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from research.backtest import backtest
from research.history.history import History
from tests.support.backtests import ROOTS, configured_strategy, random_minutes
from tests.support.tools import BROWSER, needs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out: Path = tmp_path_factory.mktemp("report")
    random_minutes(1, ROOTS).write_parquet(out / "bars.parquet")
    strategy = configured_strategy("breakout")
    history = History(out / "bars.parquet", ROOTS)
    result = backtest.run(strategy, history)
    summary = backtest.summary(result, strategy, history)
    backtest.write(result, summary, 150_000.0, out)
    assert len(result.trades) > 2
    return out / "report.html", json.loads((out / "summary.json").read_text())


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.plots: list[dict[str, Any]] = []
        self.text = ""
        self.summary = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside = given.get("id") or tag
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "poster", "data") and value]
        if "data-figure" in given:
            self.plots.append(json.loads(given["data-figure"] or ""))

    def handle_data(self, data: str) -> None:
        if self._inside == "summary":
            self.summary += data
        elif self._inside not in ("script", "style"):
            self.text += data + "\n"


def _page(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text())
    return page


def test_no_element_or_style_names_a_resource(run: tuple[Path, dict[str, Any]]) -> None:
    assert _page(run[0]).links == []
    style = run[0].read_text().split("<style>", 1)[1].split("</style>")[0]
    assert not re.search(r"url\(|@import|https?:", style)


def test_it_carries_the_summary_word_for_word(run: tuple[Path, dict[str, Any]]) -> None:
    assert json.loads(_page(run[0]).summary) == run[1]


def test_it_shows_the_numbers_of_the_summary(run: tuple[Path, dict[str, Any]]) -> None:
    path, summary = run
    text, measures = _page(path).text, summary["measures"]
    assert f"{measures['trades']:,}" in text
    assert f"{measures['win_rate']:.1%}" in text
    assert f"{measures['max_drawdown_usd']:,.0f}" in text
    for row in summary["per_instrument"]:
        assert f"{row['symbol']}\n{row['pnl_usd']:+,.0f}" in text


def test_it_names_fills_data_and_decisions(run: tuple[Path, dict[str, Any]]) -> None:
    path, summary = run
    text = _page(path).text
    for said in ("next minute's open", "profile", summary["data_sha256"], summary["decision_digest"], "150,000 USD"):
        assert said in text


def test_the_equity_plot_ends_where_the_summary_does(run: tuple[Path, dict[str, Any]]) -> None:
    path, summary = run
    equity = _page(path).plots[0]["data"][0]["y"]
    assert equity[-1] == pytest.approx(150_000.0 + summary["measures"]["net_pnl_usd"], abs=2_000.0)
    assert len(_page(path).plots) == 4


@needs(BROWSER)
def test_a_browser_draws_every_plot_and_asks_no_server(run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Every host name leads to a server of ours, which counts."""
    asked: list[str] = []

    class Counting(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def do_GET(self) -> None:
            self.do_CONNECT()

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--proxy-server=127.0.0.1:{server.server_port}",
        "--virtual-time-budget=10000",
        "--dump-dom",
        run[0].as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    server.shutdown()
    assert done.stdout.count("main-svg") >= 4
    assert [path for path in asked if "google" not in path] == []  # the browser's own calls home are not the page's
