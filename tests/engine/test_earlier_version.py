"""What a worker left behind at commit f209ce1 goes on: its bundle is accepted, its checkpoint resumed.

`tests/data/f209ce1` was made by a worker of that commit: `ibs` on made-up minutes of ES and NQ, stopped after 100 of
150. `after.bin` is the state that commit's engine steps on to from the ledger's newest checkpoint. The bundle was
promoted there, from `trained`.
"""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from rooney.cli.models import run_promote
from rooney.cli.options import Call
from rooney.config.loader import Config, load_config
from rooney.engine.build import build_engine
from rooney.engine.model_checks import configured_vetoes
from rooney.ledger.records import Checkpoint
from rooney.ledger.writer import Ledger
from rooney.market.messages import Minute
from rooney.models.forest import Model
from rooney.orders.decisions import Outcome
from rooney.strategy import digest
from tests.support.command_line import Bench
from tests.support.engines import outcome
from tests.support.paths import ROOT

DATA = ROOT / "tests/data/f209ce1"
TAPE = msgspec.json.decode(gzip.decompress((DATA / "tape.json.gz").read_bytes()), type=list[Minute])


def unpack(path: Path) -> Path:
    """The ledger, put there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.decompress((DATA / "ledger.sqlite.gz").read_bytes()))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """`a` without models, whose ledger it is, and `b` with the bundle."""
    shutil.copytree(DATA, tmp_path / "made")
    return load_config(tmp_path / "made/config.json", environ={})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    ledger = Ledger(unpack(tmp_path / "ledger.sqlite"), "a")
    found = ledger.checkpoint()
    ledger.close()
    assert found is not None
    return found


def test_its_bundle_is_accepted(config: Config) -> None:
    vetoes = configured_vetoes(config.strategy("b"))
    assert {symbol: type(veto) for symbol, veto in vetoes.items()} == {"ES": Model, "NQ": Model}
    build_engine(config.strategy("b"), vetoes=vetoes)


def test_models_trained_then_are_promoted_now(config: Config) -> None:
    source = config.path.parent / "trained"
    with pytest.raises(SystemExit) as ended:
        run_promote(Call(), config, "b", source, {}, "", dry_run=True)
    assert ended.value.code == 0


def test_its_checkpoint_is_resumed_and_steps_on_to_the_same_state(config: Config, checkpoint: Checkpoint) -> None:
    engine = build_engine(config.strategy("a"))
    assert engine.has_digest(checkpoint.digest)
    engine.restore(checkpoint.state)
    outcomes: list[Outcome] = []
    trades = 0
    for minute in (minute for minute in TAPE if minute.ts_close > checkpoint.ts_mark):
        decided = engine.on_minute(minute, outcomes)
        outcomes = [outcome(intent.symbol, intent.role, minute.ts_close) for intent in decided.intents]
        trades += len(decided.trades)
    assert trades == 26
    assert engine.freeze() == (DATA / "after.bin").read_bytes()


def test_a_checkpoint_of_other_settings_is_not_resumed(config: Config, checkpoint: Checkpoint) -> None:
    other = load_config(config.path, ["strategies.a.max_positions=1"], environ={})
    assert not build_engine(other.strategy("a")).has_digest(checkpoint.digest)


def test_a_checkpoint_of_a_changed_step_is_not_resumed(
    config: Config, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "EARLIER", dict.fromkeys(digest.EARLIER, "0" * digest.SHORT))
    assert not build_engine(config.strategy("a")).has_digest(checkpoint.digest)


def test_a_worker_goes_on_where_the_one_of_then_stopped(bench: Callable[..., Bench]) -> None:
    place = bench("a", strategy="ibs")
    unpack(place.rig.ledger("a"))
    place.rig.publish(TAPE[:100])
    worker = place.rig.start("a")
    place.rig.wait_ready("a")
    place.rig.publish(TAPE[100:])
    place.rig.finish(worker, TAPE[-1].ts_close)
    assert "code or configuration changed" not in place.rig.said()
    assert json.dumps(place.requests()).count("buy") > 0
