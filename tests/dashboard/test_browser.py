"""The dashboard in a real browser: Debian's chromium, driven by Playwright."""

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from rooney.dashboard import charts
from rooney.errors import BusError
from rooney.market.sessions import MINUTE_NS
from rooney.performance.sources import of_ledger
from tests.support.compared_runs import backtest_of
from tests.support.dashboard import Site, rooney, say_live, standing
from tests.support.private_redis import PrivateRedis
from tests.support.tools import BROWSER, require
from tests.support.workers import Zygote

PAGES = ("/", "/strategy/a", "/strategy/b", "/market", "/orders", "/system", "/compare")
WITHIN_MS = 15_000  # for what has no limit of its own; this machine may be busy


@pytest.fixture(scope="module")
def place(operate_zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, PrivateRedis]]:
    require(BROWSER)
    with standing(operate_zygote, tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def site(place: tuple[Site, PrivateRedis]) -> Site:
    return place[0]


@pytest.fixture(scope="module")
def browser(place: tuple[Site, PrivateRedis]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=shutil.which(BROWSER), args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def visit(site: Site, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page; afterwards nothing may have been asked of another host, and the console must be clean."""
    contexts: list[BrowserContext] = []
    asked: list[str] = []
    said: list[str] = []

    def watch(page: Page) -> None:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda line: said.append(f"{line.type}: {line.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))

    def open_page(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(site.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(site.url)] == []
    # a connection that breaks because a test broke it is the browser's own remark
    assert [line for line in said if "ERR_" not in line] == []


def until(page: Page, javascript: str, timeout_s: float = 30.0) -> float:
    """Wait for something to be true in the page; seconds it took. Playwright's own waiting needs eval: refused here."""
    began = time.monotonic()
    while not page.evaluate(javascript):
        waited_s = time.monotonic() - began
        assert waited_s < timeout_s, f"{javascript}\n{page.inner_text('body')[:2000]}"
        time.sleep(0.02)
    return time.monotonic() - began


LIVE = "document.querySelector('.age').textContent === 'live'"


def part(page: Page, id_: str) -> Any:
    return page.locator(f"#part-{id_}")


def test_each_tab_shows_the_ledger_s_numbers(site: Site, visit: Callable[..., Page]) -> None:
    page = visit("/")
    for path in PAGES:
        page.goto(site.url + path)
        assert page.locator("nav a[aria-current=page]").get_attribute("href") == path
        until(page, LIVE)
    for name in ("a", "b"):
        reading = site.bench.read(name)
        assert reading.account is not None
        page.goto(f"{site.url}/strategy/{name}")
        tile = part(page, "measures")
        assert tile.locator("[data-value=equity]").inner_text() == charts.plain(reading.account.equity_usd)
        assert tile.locator("[data-value=day]").inner_text() == charts.usd(reading.account.day_usd)
        assert part(page, "trades").locator("[data-trade]").count() == len(reading.trades)
        page.goto(site.url)
        row = page.locator(f"tr[data-strategy={name}]")
        assert row.locator("[data-value=day]").inner_text() == charts.usd(reading.account.day_usd)
        assert row.locator("[data-value=trades]").inner_text() == str(len(reading.trades))
    orders = sum(len(site.bench.read(name).orders) for name in ("a", "b"))
    page.goto(site.url + "/orders")
    assert part(page, "orders").locator("[data-order]").count() == orders
    page.goto(site.url + "/market")
    last = page.locator("tr[data-symbol=ES] [data-value=last]").inner_text()
    assert last == f"{next(held for held in site.bench.read('a').held if held.symbol == 'ES').mark:.2f}"


def test_a_bar_is_on_the_page_within_a_second(site: Site, visit: Callable[..., Page]) -> None:
    page = visit("/strategy/a")
    until(page, LIVE)
    took = []
    for price in (102.25, 102.75, 103.25):
        site.bench.more(price)
        took.append(until(page, f"document.querySelector('#part-positions').textContent.includes('{price:.2f}')"))
    assert min(took) < 1.0, took  # the best of three: other processes share this machine


def test_what_a_person_unfolded_ticked_and_chose_stays(site: Site, visit: Callable[..., Page]) -> None:
    page = visit("/strategy/a")
    page.locator("#part-intents details summary").first.click()
    page.locator("#filter-side").select_option("short")
    site.bench.more(102.5)
    until(page, "document.querySelector('#part-positions').textContent.includes('102.50')")
    assert page.locator("#part-intents details").first.get_attribute("open") is not None
    assert page.locator("#filter-side").input_value() == "short"
    page.goto(site.url)
    page.locator("#show-0").uncheck()
    assert page.locator("#part-equity svg .line-0").first.is_hidden()


def test_the_page_greys_when_nothing_comes_and_recovers_with_the_dashboard(
    site: Site, visit: Callable[..., Page]
) -> None:
    page = visit("/")
    page.clock.install()
    page.reload()
    until(page, LIVE)
    site.stop(signal.SIGKILL)
    page.clock.fast_forward(6_000)
    assert page.locator("body").get_attribute("data-stale") == "amber"
    page.clock.fast_forward(12_000)
    assert page.locator("body").get_attribute("data-stale") == "red"
    assert page.locator(".age").inner_text().startswith("NOT LIVE")
    site.start()
    end = time.monotonic() + 30
    while page.locator("body").get_attribute("data-stale") != "":
        assert time.monotonic() < end, page.locator(".age").inner_text()
        page.clock.run_for(500)
        time.sleep(0.2)


def test_redis_and_hub_may_go_and_come_back(place: tuple[Site, PrivateRedis], visit: Callable[..., Page]) -> None:
    site, redis = place
    page = visit("/market")
    say_live(site.bench)
    page.wait_for_selector("tr[data-symbol=ES].is-fresh", timeout=WITHIN_MS)
    site.bench.rig.bus._redis.delete("hub:status")
    page.wait_for_selector("#part-alarms :text('no hub')", timeout=WITHIN_MS)
    redis.stop(kill=True)
    page.wait_for_selector("tr[data-symbol=ES].is-stale", timeout=WITHIN_MS)
    page.wait_for_selector("#part-alarms :text('Redis at unix:')", timeout=WITHIN_MS)
    assert page.locator("body").get_attribute("data-stale") != "red"  # the page itself is alive
    redis.start()
    with contextlib.suppress(BusError):  # what notices that the old connection is gone
        site.bench.rig.bus.ping()
    say_live(site.bench)
    until(page, "!document.querySelector('#part-alarms').textContent.includes('Redis at')")


def test_the_comparison_tab_shows_what_was_kept_within_a_second(
    site: Site, visit: Callable[..., Page], tmp_path: Path
) -> None:
    page = visit("/compare")
    until(page, LIVE)
    live = of_ledger(site.bench.rig.ledger("a"))
    rooney(site.bench, "compare", "a", backtest_of(site.bench, live.trades, tmp_path / "same"), "--keep")
    shown = "document.querySelector('[data-verdict=\"a.compare\"]')"
    until(page, f"{shown} && {shown}.textContent.includes('Every trade is the same')", timeout_s=5.0)
    share = part(page, "compare").locator("[data-value=share]").inner_text()
    assert share == "100.0 %"
    worse = [
        msgspec.structs.replace(one, exit_price=one.exit_price + 1.0, pnl_usd=one.pnl_usd + 50.0) for one in live.trades
    ]
    folder = backtest_of(site.bench, worse, tmp_path / "better")
    rooney(site.bench, "compare", "a", folder, "--keep", code=1)
    page.wait_for_selector("[data-difference=slippage]", timeout=WITHIN_MS)
    assert part(page, "compare").locator("[data-difference]").count() == len(live.trades)
    page.locator("[id^=days-]").first.locator("summary").click()
    site.bench.more(102.5)
    until(page, LIVE)
    assert page.locator("[id^=days-]").first.get_attribute("open") is not None
    assert part(page, "together").locator("[data-value=positions]").inner_text() == "1"
    assert part(page, "capacity").locator("[data-capacity='a ES']").count() == 1
    for scheme in ("light", "dark"):
        for width in (1400, 360):
            other = visit("/compare", viewport={"width": width, "height": 900}, color_scheme=scheme)
            assert other.evaluate("document.documentElement.scrollWidth") <= width
            assert other.evaluate(_CONTRAST) == []
            if folder_of := os.environ.get("ROONEY_SCREENSHOTS"):
                other.screenshot(path=f"{folder_of}/compare-{scheme}-{width}.png", full_page=True)


@pytest.mark.slow
def test_twenty_tabs_are_all_live(site: Site, visit: Callable[..., Page]) -> None:
    first = visit("/")
    pages = [first, *(first.context.new_page() for _ in range(19))]
    for k, page in enumerate(pages[1:], 1):
        page.goto(site.url + PAGES[k % len(PAGES)])
    tape = site.bench.rig.bus.tape_bounds()
    assert tape is not None
    site.bench.more(102.0)
    mark = time.strftime("%H:%MZ", time.gmtime((tape[1] + MINUTE_NS) // 1_000_000_000))
    for page in pages:
        if page.url.endswith(("/", "/strategy/a")):
            until(page, f"document.querySelector('main').textContent.includes('{mark}')")
        assert "NOT LIVE" not in page.locator(".age").inner_text()


def test_it_is_complete_without_scripts(site: Site, visit: Callable[..., Page]) -> None:
    page = visit("/strategy/a", java_script_enabled=False)
    assert "as of" in page.locator(".age").inner_text()
    assert page.locator("svg.plot").count() == 2
    page.locator("#filter-side").select_option("short")
    page.get_by_role("button", name="Show").click()
    assert "side=short" in page.url and page.get_by_text("No trade is like that.").count() == 1


def test_the_keyboard_reaches_every_page(site: Site, visit: Callable[..., Page]) -> None:
    page = visit("/")
    for k, path in reversed(list(enumerate(PAGES, 1))):
        page.keyboard.press(str(k))
        page.wait_for_url(re.compile(re.escape(site.url + path) + "$"), timeout=WITHIN_MS)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("t")
    page.wait_for_url(re.compile("zone=chicago"), timeout=WITHIN_MS)
    assert page.locator("nav a").nth(3).get_attribute("href") == "/market?zone=chicago"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_s_width_is_enough_for_every_page(site: Site, visit: Callable[..., Page], scheme: str) -> None:
    page = visit("/", viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for path in PAGES:
        page.goto(site.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


_CONTRAST = """() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (c.startsWith('rgb(')) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  const poor = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest('svg')) continue;
    const a = light(getComputedStyle(e).color), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${e.className} ${e.textContent.trim().slice(0, 30)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("colours", ["classic", "safe"])
def test_every_text_has_contrast_enough(site: Site, visit: Callable[..., Page], scheme: str, colours: str) -> None:
    """WCAG 2.2 AA: 4.5 to 1."""
    page = visit("/", color_scheme=scheme)
    for path in ("/", "/strategy/a", "/market", "/orders"):
        page.goto(f"{site.url}{path}?colours={colours}")
        assert page.evaluate(_CONTRAST) == [], path
