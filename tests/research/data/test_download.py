"""Downloads by the real client from a server of ours: bought once, whole, and never above the limit."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from research.data import download
from research.data.download import Archive, Span, months
from research.data.frame import STORED
from research.data.store import Store
from rooney.cli import cli
from rooney.errors import ConfigError, FeedError, FeedFatalError
from rooney.market.bars import ClosedMinute, MinuteBuilder
from rooney.market.instruments import group_of, parse_contract
from rooney.market.sessions import MINUTE_NS, session_open_ns
from rooney.sim.databento.gateway import DEMO_KEY
from tests.support.archive_market import FIRST, MARKET, ROOTS
from tests.support.archive_server import Answer, ArchiveServer, Cut, Nonsense, Refuse, serving
from tests.support.children import child
from tests.support.paths import ROOT
from tests.support.waiting import until

SPAN = ("--start", "2026-02-25", "--end", "2026-03-03")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    with serving(MARKET, tmp_path) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
        monkeypatch.setenv("DATABENTO_API_KEY", DEMO_KEY)
        monkeypatch.setattr(download, "PAUSES_S", (0.01, 0.01, 0.01))
        yield server


def argv(server: ArchiveServer, to: Path, *more: str) -> list[str]:
    return [
        "data",
        "download",
        *ROOTS,
        *SPAN,
        "--to",
        str(to),
        "--limit-usd",
        "5",
        "--gateway",
        server.url,
        "--json",
        *more,
    ]


def rooney(server: ArchiveServer, to: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """(exit status, JSON) of `rooney data download`."""
    done = CliRunner().invoke(cli, argv(server, to, *more))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout)


def stored(to: Path) -> pl.DataFrame:
    return pl.concat([Store(to).read(part) for part in Store(to).parts()]).sort("ts_open", "contract")


def test_what_is_downloaded_is_what_the_hub_would_have_built(server: ArchiveServer, tmp_path: Path) -> None:
    code, said = rooney(server, tmp_path / "s")
    assert code == 0, said
    assert said["downloads"] == 4  # two roots, two months
    closed: list[ClosedMinute] = []
    opens = min(session_open_ns(group_of(root), FIRST) for root in ROOTS)
    builder = MinuteBuilder([group_of(root) for root in ROOTS], opens, 50_000_000, closed.append, lambda: (1 << 62) - 1)
    for instrument in MARKET.instruments:
        builder.map(instrument.instrument_id, parse_contract(instrument.raw, FIRST))
    for batch in MARKET.batches(0):
        for record in batch:
            builder.on_trade(*(int(record[name]) for name in ("instrument_id", "ts_recv", "price", "size")))
    builder.on_time(int(batch["ts_recv"][-1]) + 5 * MINUTE_NS)
    bars = [part.bar(one.ts_close - MINUTE_NS, 0, 0) for one in closed for part in one.contracts]
    names = {instrument.raw: parse_contract(instrument.raw, FIRST) for instrument in MARKET.instruments}
    tickers = {raw: contract.ticker for raw, contract in names.items() if contract is not None}
    rows = [
        (b.ts_open, b.symbol, tickers[b.contract], b.timeframe, b.open, b.high, b.low, b.close, b.volume) for b in bars
    ]
    expected = pl.DataFrame(rows, list(STORED), orient="row").with_columns(
        pl.col("ts_open").cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
    )
    assert len(expected) > 5_000
    assert stored(tmp_path / "s").equals(expected.sort("ts_open", "contract"))


def test_the_raw_answers_are_kept_as_they_came(server: ArchiveServer, tmp_path: Path) -> None:
    rooney(server, tmp_path / "s")
    names = sorted(path.relative_to(tmp_path / "s").as_posix() for path in (tmp_path / "s/raw").rglob("*.dbn.zst"))
    folder = "raw/GLBX.MDP3/ohlcv-1m"
    assert names == [
        f"{folder}/{root}/{span}.dbn.zst"
        for root in ROOTS
        for span in ("2026-02-25_2026-03-01", "2026-03-01_2026-03-03")
    ]
    Store(tmp_path / "again").directory.mkdir()
    done = CliRunner().invoke(cli, ["data", "import", str(tmp_path / "s/raw"), "--to", str(tmp_path / "again")])
    assert done.exit_code == 0
    assert stored(tmp_path / "again").equals(stored(tmp_path / "s"))


def test_above_the_limit_nothing_is_bought_and_the_price_is_said(server: ArchiveServer, tmp_path: Path) -> None:
    server.usd_per_gib = 1e7
    done = CliRunner().invoke(cli, [word for word in argv(server, tmp_path / "s") if word != "--json"])
    assert done.exit_code == 2
    assert "is above --limit-usd 5.00; nothing was bought" in done.stdout
    assert "ES   2026-02-25 to 2026-03-03" in done.stderr
    assert server.requests == []


def test_a_dry_run_says_the_price_and_buys_nothing(server: ArchiveServer, tmp_path: Path) -> None:
    code, said = rooney(server, tmp_path / "s", "--dry-run")
    assert code == 0
    assert 0 < said["cost_usd"] < 5
    assert server.requests == []


def test_a_second_run_buys_nothing_and_a_longer_one_the_rest_only(server: ArchiveServer, tmp_path: Path) -> None:
    short = [word.replace("2026-03-03", "2026-02-28") for word in argv(server, tmp_path / "s")]
    CliRunner().invoke(cli, short)
    bought = len(server.requests)
    assert bought == 2
    CliRunner().invoke(cli, short)
    assert len(server.requests) == bought
    _, said = rooney(server, tmp_path / "s")
    days = {
        (datetime.fromtimestamp(r.start_ns / 1e9, UTC).day, datetime.fromtimestamp(r.end_ns / 1e9, UTC).day)
        for r in server.requests[bought:]
    }
    assert days == {(28, 1), (1, 3)}
    assert said["known"] == 0
    whole = tmp_path / "whole"
    rooney(server, whole)
    assert stored(tmp_path / "s").equals(stored(whole))


def test_a_server_that_fails_is_asked_again_and_half_an_answer_is_never_taken(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.script.extend([Refuse(503), Cut(0.5, tell=True), Cut(0.9), Answer()])
    server.script.extend([Refuse(429), Nonsense(), Cut(0.0, tell=True), Answer(), Refuse(504)])
    code, said = rooney(server, tmp_path / "s")
    assert code == 0, said
    rooney(server, tmp_path / "right")
    assert not server.script
    assert stored(tmp_path / "s").equals(stored(tmp_path / "right"))
    assert not list((tmp_path / "s").rglob("*.part"))


def test_after_so_many_failures_it_gives_up_and_keeps_what_is_complete(server: ArchiveServer, tmp_path: Path) -> None:
    server.script.extend([Answer(), *[Refuse(503, "maintenance")] * 4])
    with pytest.raises(FeedError, match=r"503 maintenance; tried 4 times\. What is complete is kept"):
        rooney(server, tmp_path / "s")
    assert len(stored(tmp_path / "s")) > 0
    assert rooney(server, tmp_path / "s")[1]["downloads"] == 3


def test_a_wrong_key_is_refused_once_and_not_shown(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABENTO_API_KEY", "db-wrong-and-secret-0123456789ab")
    with pytest.raises(FeedFatalError, match="401 Authentication failed") as refused:
        rooney(server, tmp_path / "s")
    chain: BaseException | None = refused.value
    while chain is not None:
        assert "secret" not in str(chain)
        chain = chain.__cause__ or chain.__context__


def test_days_that_are_not_complete_yet_are_not_asked_for(server: ArchiveServer, tmp_path: Path) -> None:
    server.end = "2026-02-28T13:45:00.000000000Z"
    done = CliRunner().invoke(cli, argv(server, tmp_path / "s"))
    assert "Databento has whole days before 2026-02-28" in done.stderr
    assert (
        max(request.end_ns for request in server.requests) == int(datetime(2026, 2, 28, tzinfo=UTC).timestamp()) * 10**9
    )
    server.end = "2026-02-25T00:00:00Z"
    with pytest.raises(ConfigError, match="nothing from 2026-02-25 on yet"):
        rooney(server, tmp_path / "t")


def test_killed_in_the_midst_it_goes_on_and_buys_nothing_twice(server: ArchiveServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rooney", *argv(server, tmp_path / "s")]
    with child(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: len(server.requests) >= 2 or process.poll() is not None, 60)
    before = list(server.requests)
    files = list((tmp_path / "s/raw").rglob("*.dbn.zst"))
    code, _ = rooney(server, tmp_path / "s")
    assert code == 0
    assert len(server.requests) - len(before) == 4 - len(files)
    assert len(server.requests) <= 5  # the one it was killed in may have to be asked for again
    rooney(server, tmp_path / "right")
    assert stored(tmp_path / "s").equals(stored(tmp_path / "right"))
    assert not list((tmp_path / "s").rglob("*.part"))


def test_what_was_paid_but_not_stored_is_stored_without_paying_again(server: ArchiveServer, tmp_path: Path) -> None:
    archive = Archive(Store(tmp_path / "s"), DEMO_KEY, server.url)
    archive.fetch(Span("ES", date(2026, 2, 26), date(2026, 2, 27)))
    assert Store(tmp_path / "s").parts() == []
    code, said = rooney(server, tmp_path / "s", "--end", "2026-02-27", "--start", "2026-02-26")
    assert (code, said["downloads"]) == (0, 1)  # of GC
    assert {part.root for part in Store(tmp_path / "s").parts()} == {"ES", "GC"}
    assert len(server.requests) == 2


day = st.integers(0, 200).map(lambda days: date(2025, 1, 1) + timedelta(days=days))


@given(st.lists(st.tuples(day, day)), day, day)
def test_what_is_held_and_what_is_missing_cover_every_day_once(
    held: list[tuple[date, date]], start: date, end: date
) -> None:
    archive = object.__new__(Archive)
    archive._held = lambda root: iter([(a, b) for a, b in held if a < b])  # type: ignore[method-assign]
    spans = archive.missing("ES", start, end)
    asked = [day for span in spans for day in days_of(span.start, span.end)]
    have = {day for a, b in held for day in days_of(a, b)}
    assert asked == [day for day in days_of(start, end) if day not in have]


@given(day, st.integers(0, 500))
def test_months_follow_one_another_without_a_day_between(start: date, length: int) -> None:
    end = start + timedelta(days=length)
    pieces = list(months(Span("ES", start, end)))
    assert [day for piece in pieces for day in days_of(piece.start, piece.end)] == days_of(start, end)
    assert all(piece.start.month == (piece.end - timedelta(days=1)).month for piece in pieces)


def days_of(start: date, end: date) -> list[date]:
    return [start + timedelta(days=k) for k in range(max(0, (end - start).days))]


def test_the_key_comes_from_the_environment_or_a_credential_and_its_absence_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABENTO_API_KEY", raising=False)
    done = CliRunner().invoke(cli, ["data", "download", "ES", *SPAN, "--to", str(tmp_path), "--limit-usd", "1"])
    assert isinstance(done.exception, ConfigError)
    assert "DATABENTO_API_KEY is not set" in str(done.exception)
