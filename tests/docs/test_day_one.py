"""docs/DAY_ONE.md: its commands for history, backtest and models, in its order, against an archive of ours.

Dates and roots are those of a small market; the rest is as it stands there. Installing and starting is in system/.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rooney.cli import cli
from rooney.sim.databento.gateway import DEMO_KEY
from rooney.sim.processes import start_redis
from tests.support.archive_market import MARKET, ROOTS
from tests.support.archive_server import ArchiveServer, serving
from tests.support.paths import ROOT

HERE = ROOT
TEXT = (HERE / "docs" / "DAY_ONE.md").read_text()
COMMANDS = re.findall(r"^uv run --all-extras rooney (?!demo|.*demo-out)(.+)$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a configuration, on a Redis of its own."""
    place = tmp_path_factory.mktemp("day-one")
    part = start_redis(place)
    text = (HERE / "config.multi_alpha.yml").read_text()
    text = re.sub(r"^  # redis_socket: .*", f"  redis_socket: {place}/redis.sock", text, flags=re.MULTILINE)
    (place / "config.multi_alpha.yml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("DATABENTO_API_KEY", DEMO_KEY)
        yield place
    part.stop()


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[ArchiveServer]:
    with serving(MARKET, place) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
        yield server


def told(start: str, server: ArchiveServer) -> list[Result]:
    """Run each command of the text that begins so, for this market."""
    results = []
    for command in COMMANDS:
        if command.startswith(start):
            command = command.replace("ES CL GC 6A HG SI", " ".join(ROOTS)).replace(
                "ES,CL,GC,6A,HG,SI", ",".join(ROOTS)
            )
            command = command.replace("2024-01-01", "2026-02-25").replace("2026-01-01", "2026-03-03")
            command = command.replace("/etc/rooney/config.multi_alpha.yml", "config.multi_alpha.yml")
            words = shlex.split(command) + (["--gateway", server.url] if "download" in command else [])
            results.append(CliRunner().invoke(cli, words))
    return results


@pytest.fixture(scope="module")
def bought(server: ArchiveServer) -> list[Result]:
    return told("data download", server)


def test_the_price_is_said_before_anything_is_bought(bought: list[Result], place: Path) -> None:
    said, bought_ = bought
    assert (said.exit_code, bought_.exit_code) == (0, 0), said.output + bought_.output
    assert "USD" in said.output
    assert len(list((place / "bars").rglob("*.parquet"))) > 0


def test_what_was_bought_is_in_order_and_fills_redis(bought: list[Result], server: ArchiveServer) -> None:
    (checked,), (filled,) = told("data check", server), told("data fill", server)
    assert checked.exit_code == 0, checked.output
    assert filled.exit_code in (0, 1), filled.output  # the other instruments of the file have no history here
    assert re.search(r"\bES\b.*\d", filled.output), filled.output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_was_bought_is_backtested_and_too_little_for_a_model(
    bought: list[Result], server: ArchiveServer, place: Path
) -> None:
    (tested,), (trained,) = told("backtest", server), told("train", server)
    assert tested.exit_code == 0, tested.output
    assert json.loads((place / "result" / "summary.json").read_text())["strategy"] == "ibs"
    assert trained.exit_code == 1, trained.output
    assert (place / "trained" / "report.html").exists() and not list((place / "trained").glob("*.model"))
    assert "\nrooney promote ibs --from trained\n" in TEXT
    given = [f"strategies.ibs.bundle={place}/bundles", "strategies.ibs.models_path=null"]
    words = ["promote", "ibs", "--from", "trained", *(word for one in given for word in ("--set", one))]
    promoted = CliRunner().invoke(cli, words)
    assert promoted.exit_code == 1, promoted.output
    assert "nothing promoted: no instrument passes the gates" in promoted.output


def test_every_research_command_of_the_text_is_run_here() -> None:
    begun = ("data download", "data check", "data fill", "backtest", "train")
    assert [command for command in COMMANDS if not command.startswith(begun)] == []
