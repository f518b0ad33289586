"""What is promoted, what is refused, and that a worker trades by its own bundle and by nothing else."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from research.models import promote
from rooney.cli.backtest import run_backtest
from rooney.cli.options import Call
from rooney.config.loader import Config, load_config
from rooney.config.schema import Gates
from rooney.engine.build import build_engine
from rooney.engine.model_checks import configured_vetoes, model_findings
from rooney.errors import BundleError, ConfigError
from rooney.market.messages import Minute
from rooney.market.sessions import MINUTE_NS
from rooney.models import bundle
from rooney.models.forest import Model, NoModel
from rooney.ops import backup, flatten
from rooney.ops.host_check import findings
from tests.support.bundles import GOOD, config, promoted, training
from tests.support.command_line import Bench
from tests.support.ledgers import read_only
from tests.support.minutes import BUY, LEAVE, QUIET, START, bar, closes


@pytest.fixture
def one(tmp_path: Path) -> Config:
    return config(tmp_path)


@pytest.fixture
def trained(tmp_path: Path, one: Config) -> Path:
    return training(tmp_path / "trained", one)


@pytest.fixture
def held(one: Config, trained: Path) -> bundle.Bundle:
    """A bundle in force."""
    assert promoted(one, trained) == 0
    return bundle.read_bundle(one.path.parent / "bundles")


# ── promoting ──


def test_what_passes_is_in_force_with_its_evidence_and_the_engine_takes_it(held: bundle.Bundle, one: Config) -> None:
    strategy = one.strategy("a")
    assert strategy.bundle == held
    assert set(configured_vetoes(strategy)) == {"ES", "NQ"}
    assert {path.name for path in held.path.iterdir()} == {"manifest.json", "training.json", "ES.model", "NQ.model"}
    assert bundle.digest((held.path / "manifest.json").read_bytes()) == held.name
    build_engine(strategy)


def test_the_same_training_is_the_same_bundle_wherever_it_is_promoted(held: bundle.Bundle, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    assert promoted(config(other), tmp_path / "trained") == 0
    assert bundle.in_force(other / "bundles") == held.name


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("paths", 4.0, "paths of the cross-validation: 4 (least 5)"),
        ("path_share", 0.6, "share of paths with an excess 0.60 (least 0.80)"),
        ("kept_trades", 99.0, "trades kept on the path that keeps fewest: 99 (least 100)"),
        ("deflated_sharpe", 0.94, "deflated Sharpe ratio 0.940 (least 0.950)"),
        ("overfitting", 0.21, "probability of overfitting 0.21 (most 0.20)"),
        ("final_kept", 29.0, "trades kept in the final period: 29 (least 30)"),
        ("final_sharpe_probability", 0.7, "probability of an excess there 0.70 (least 0.80)"),
        ("overfitting", None, "probability of overfitting nan (most 0.20)"),
        ("paths", None, "paths of the cross-validation: nan (least 5)"),
    ],
)
def test_an_instrument_that_misses_a_gate_is_left_out_and_it_is_said_which(
    key: str, value: float | None, said: str, one: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = training(tmp_path / "trained", one, NQ={"measures": GOOD | {key: value}})
    assert promoted(one, source) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["instruments"], told["missed"]) == (["ES"], {"NQ": [said]})
    vetoes = configured_vetoes(one.strategy("a"))
    assert isinstance(vetoes["ES"], Model)
    assert isinstance(vetoes["NQ"], NoModel)  # it enters nothing, whatever on_missing_model says
    assert any("leaves out NQ: they enter nothing" in finding.text for finding in model_findings(one.strategy("a")))


def test_gates_are_configuration(tmp_path: Path) -> None:
    strict = config(tmp_path, gates={"min_deflated_sharpe": 0.995})
    assert promoted(strict, training(tmp_path / "trained", strict)) == 1
    assert promoted(config(tmp_path, gates={"min_deflated_sharpe": 0.9}), tmp_path / "trained") == 0


def test_when_nothing_passes_nothing_changes(held: bundle.Bundle, one: Config, tmp_path: Path) -> None:
    bad = {"confirmed": False, "reasons": ["looks like luck"]}
    assert promoted(one, training(tmp_path / "luck", one, ES=bad, NQ=bad)) == 1
    assert bundle.in_force(held.path.parent) == held.name
    assert [each.name for each in bundle.kept(held.path.parent)] == [held.name]


def test_despite_the_gates_is_for_paper_and_never_for_money(tmp_path: Path) -> None:
    one = config(tmp_path)
    bad = {"confirmed": False, "reasons": ["looks like luck"]}
    assert promoted(one, training(tmp_path / "luck", one, ES=bad), "to see it on paper") == 0
    (finding,) = [each for each in model_findings(one.strategy("a")) if each.level == "warning"]
    assert "missed gates (to see it on paper), so not for mode live: ES: looks like luck" in finding.text
    one.worker("a")
    with pytest.raises(BundleError, match="may trade on paper and dry, not in mode live"):
        config(tmp_path, mode="live").worker("a")


def test_the_portfolio_says_which_instruments_and_the_search_which_parameters(tmp_path: Path) -> None:
    one = config(tmp_path)
    searched = config(tmp_path, strategy_params={"leave": 104.0})
    source = training(tmp_path / "trained", searched)
    (source / "optimize.json").write_text('{"strategy_params": {"leave": 104.0}, "measures": {"overfitting": 0.1}}')
    (source / "portfolio.json").write_text('{"instruments": ["NQ"], "sharpe": 1.0}')
    assert promoted(one, source) == 0
    strategy = config(tmp_path, instruments=None).strategy("a")
    assert list(strategy.traded) == ["NQ"]
    assert strategy.bundle is not None
    assert strategy.bundle.params("NQ")["leave"] == 104.0
    assert {"optimize.json", "portfolio.json"} <= set(strategy.bundle.manifest.files)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "optimize.json",
            {"strategy_params": {}, "measures": {"overfitting": 0.6}},
            "the parameters: probability of overfitting 0.60 (most 0.20)",
        ),
        (
            "optimize.json",
            {"strategy_params": {}, "confirmed": False, "reasons": ["the final period lost 1 USD"]},
            "the parameters: the final period lost 1 USD",
        ),
        (
            "portfolio.json",
            {"instruments": [], "selected": ["ES", "NQ"], "confirmed": False, "reasons": ["luck"]},
            "the portfolio: luck",
        ),
    ],
)
def test_a_search_or_a_portfolio_that_does_not_hold_promotes_nothing(
    file: str, content: Any, said: str, one: Config, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / file).write_text(json.dumps(content))
    assert promoted(one, trained) == 1
    assert json.loads(capsys.readouterr().out)["missed"] == {"ES": [said], "NQ": [said]}


def test_models_of_other_parameters_are_not_promoted(tmp_path: Path, trained: Path) -> None:
    with pytest.raises(ConfigError, match=r"ES\.model: learned from trades of other strategy_params"):
        promoted(config(tmp_path, strategy_params={"leave": 104.0}), trained)


def test_a_model_that_is_not_the_one_of_the_evidence_is_not_promoted(one: Config, trained: Path) -> None:
    facts = json.loads((trained / "training.json").read_text())
    facts["instruments"]["NQ"]["sha256"] = "0" * 64
    (trained / "training.json").write_text(json.dumps(facts))
    with pytest.raises(ConfigError, match=r"NQ\.model: is not the model that training\.json beside it speaks of"):
        promoted(one, trained)


def test_back_and_forth_between_what_is_kept(held: bundle.Bundle, one: Config, tmp_path: Path) -> None:
    folder = held.path.parent
    assert promoted(one, training(tmp_path / "second", one, votes=0.25)) == 0
    second = bundle.in_force(folder)
    assert second != held.name
    for wanted, now in ((None, held.name), (None, second), (held.short, held.name)):
        promote.switch(one, "a", wanted)
        assert bundle.in_force(folder) == now
    with pytest.raises(BundleError, match="0 bundles begin with 'zz'"):
        promote.switch(one, "a", "zz")


def test_a_block_may_name_one_bundle_and_keeps_it_whatever_is_promoted(
    held: bundle.Bundle, one: Config, tmp_path: Path
) -> None:
    pinned = config(tmp_path, bundle=f"bundles/{held.name}")
    assert promoted(config(tmp_path), training(tmp_path / "second", one, votes=0.25)) == 0
    assert pinned.strategy("a").bundle == held


def test_a_bundle_whose_worker_would_refuse_it_is_not_put_in_force(tmp_path: Path) -> None:
    """The search changed a parameter that the block still states."""
    searched = config(tmp_path, strategy_params={"leave": 104.0})
    source = training(tmp_path / "trained", searched)
    (source / "optimize.json").write_text('{"strategy_params": {"leave": 104.0}}')
    with pytest.raises(BundleError, match=r"strategy_params\.leave.*: is 103\.0 here and 104\.0 in bundle"):
        promoted(config(tmp_path, strategy_params={"leave": 103.0}), source)
    assert bundle.in_force(tmp_path / "bundles") is None


# ── refusing ──


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"ES"', b'"NQ"', 1))


def _renamed(found: bundle.Bundle, **changes: Any) -> None:
    """Whole and well named, but saying something else."""
    said = msgspec.to_builtins(found.manifest) | changes
    content = json.dumps(said).encode()
    (found.path / "manifest.json").write_bytes(content)
    name = bundle.digest(content)
    found.path.rename(found.path.with_name(name))
    (found.path.parent / "current").write_text(name)


DAMAGES: dict[str, tuple[Callable[[bundle.Bundle], object], str]] = {
    "a manifest cut off": (lambda b: _cut(b.path / "manifest.json"), r"manifest\.json was cut off or changed"),
    "a manifest edited": (lambda b: _edited(b.path / "manifest.json"), r"manifest\.json was cut off or changed"),
    "a model cut off": (lambda b: _cut(b.path / "ES.model"), r"ES\.model was cut off or changed after it was promoted"),
    "evidence edited": (lambda b: _edited(b.path / "training.json"), r"training\.json was cut off or changed"),
    "a model gone": (lambda b: (b.path / "NQ.model").unlink(), r"NQ\.model is missing"),
    "a model more": (lambda b: (b.path / "YM.model").write_bytes(b""), r"YM\.model was not promoted with it"),
    "a bundle gone": (lambda b: b.path.rename(b.path.with_name("x")), r"manifest\.json: No such file"),
    "a torn line": (lambda b: (b.path.parent / "current").write_text(b.name[:20]), r"current: does not hold the name"),
    "nothing promoted": (lambda b: (b.path.parent / "current").unlink(), r"bundles: nothing has been promoted there"),
    "another strategy's": (lambda b: _renamed(b, strategy="ibs"), r"is a bundle of ibs, not of scripted"),
    "a newer format": (lambda b: _renamed(b, format=2, shape="new"), r"has format 2, this version reads 1"),
    "no manifest of ours": (lambda b: _renamed(b, strategy=1), r"manifest\.json does not say what it must"),
    "other kernels": (
        lambda b: _renamed(b, digests=b.manifest.digests | {"kernels": "0" * 64}),
        r"was promoted with other kernels than this version of rooney has \(kernels 000000000000, here [0-9a-f]{12}\)",
    ),
    "other features": (
        lambda b: _renamed(b, digests=b.manifest.digests | {"features": "0" * 64}),
        r"was promoted with other features than this version",
    ),
    "another strategy file": (
        lambda b: _renamed(b, digests=b.manifest.digests | {"strategy": "0" * 64}),
        r"was promoted with other strategy than this version",
    ),
    "a feature unknown here": (lambda b: _renamed(b, features=["moon"]), r"moon"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_the_bundle_that_was_promoted_is_refused_by_name(
    damage: str, held: bundle.Bundle, one: Config
) -> None:
    act, said = DAMAGES[damage]
    act(held)
    with pytest.raises(BundleError, match=said) as refused:
        build_engine(one.strategy("a"))
    assert str(refused.value).startswith(str(held.path.parent))


def test_what_is_torn_is_whole_again_once_it_is_promoted_again(held: bundle.Bundle, one: Config, trained: Path) -> None:
    _cut(held.path / "ES.model")
    assert promoted(one, trained) == 0
    (held.path.parent / "current").write_text("torn")
    promote.switch(one, "a", held.short)
    build_engine(one.strategy("a"))


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"strategy_params": {"buy": 100.5}}, r"a\.strategy_params\.buy of ES: is 100\.5 here and 101\.0 in bundle"),
        ({"overrides": {"NQ": {"strategy_params": {"buy": 100.5}}}}, r"strategy_params\.buy of NQ: is 100\.5 here"),
        ({"models_path": "models"}, r"strategies\.a\.models_path: models come with the bundle"),
    ],
)
def test_a_block_that_says_otherwise_than_its_bundle_is_refused(
    block: dict[str, Any], said: str, held: bundle.Bundle, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        build_engine(config(tmp_path, **block).strategy("a"))


def test_whoever_looks_or_closes_needs_no_bundle(held: bundle.Bundle, one: Config) -> None:
    """The rest of the file is read without it, so the hub, other strategies and `flatten` go on."""
    assert set(flatten._traded(one, "a")) == {"ES", "NQ"}
    _cut(held.path / "manifest.json")
    assert load_config(one.path, environ={}).block("a").bundle == "bundles"
    assert flatten._traded(one, "a") == {}


def test_a_backup_holds_what_was_promoted_and_which_of_it_is_in_force(
    held: bundle.Bundle, one: Config, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    items = backup.collect(one, tmp_path / "state", tmp_path / "control", None, with_secrets=False, strategies=tmp_path)
    kept = {item.path for item in items if item.kind == "model"}
    assert kept == {held.path.parent / "current", *held.path.iterdir()}


def test_every_number_of_the_gates_has_a_place_in_the_manifest(held: bundle.Bundle) -> None:
    assert held.manifest.gates == msgspec.structs.asdict(Gates())
    assert all(math.isfinite(gate) for gate in held.manifest.gates.values())


# ── trading ──


def _minutes() -> list[Minute]:
    """An hour's bar, so that the model has its weekday; then a buy and a close, twice."""
    first, *rest = closes(QUIET, BUY, QUIET, LEAVE, QUIET, BUY, QUIET, LEAVE, QUIET, QUIET)
    hour = bar("ES", START + MINUTE_NS, QUIET, timeframe="hourly")
    return [msgspec.structs.replace(first, bars=[*first.bars, hour]), *rest]


def test_two_versions_of_a_strategy_run_side_by_side_each_by_its_own_bundle(bench: Callable[..., Bench]) -> None:
    """`a` has models that let everything in, `b`, a twin of the same file beside it, models that let nothing in."""
    place = bench("a", "b", instruments=["ES"], daily_stop_loss=1_000_000)
    names = {}
    for name, votes in (("a", 1.0), ("b", 0.0)):
        folder = place.rig.directory / f"made-{name}"
        folder.mkdir()
        made = config(folder, instruments=["ES"])
        assert promoted(made, training(folder / "trained", made, votes)) == 0
        place.rig.blocks[name]["bundle"] = str(folder / "bundles")
        names[name] = bundle.read_bundle(folder / "bundles").short
    build_engine(made.strategy("a")).compile()
    minutes = _minutes()
    a = place.rig.begin([], name="a")
    b = place.rig.start("b")
    place.rig.wait_ready("b")
    place.rig.publish(minutes)
    for name, worker in (("a", a), ("b", b)):
        place.rig.finish(worker, minutes[-1].ts_close, name)
        assert f"strategies.{name}.bundle: {names[name]}, for ES" in place.rig.log(name).read_text()
    reasons = {}
    for name in ("a", "b"):
        with read_only(place.rig.ledger(name)) as db:
            reasons[name] = [row[0] for row in db.execute("SELECT reason FROM decision ORDER BY ts_mark")]
    assert reasons["a"].count("enter_long") == reasons["b"].count("vetoed") == 2
    assert "vetoed" not in reasons["a"]
    assert "enter_long" not in reasons["b"]
    assert [payload["extras"]["strategy"] for payload in place.requests()] == ["a"] * 4


def test_worker_check_and_backtest_refuse_a_bundle_that_was_changed(
    bench: Callable[..., Bench], one: Config, held: bundle.Bundle, tmp_path: Path
) -> None:
    place = bench("a", mode="dry", bundle=str(held.path.parent))
    _edited(held.path / "training.json")
    said = f"{held.path}: training.json was cut off or changed"
    assert place.rig.start("a").wait() == 78
    assert said in place.rig.log("a").read_text()
    found = findings(one, online=False, now_ns=lambda: START)
    assert any(each.level == "error" and each.path == str(held.path) for each in found)
    with pytest.raises(BundleError, match=re.escape(said)):
        run_backtest(Call(), one.strategy("a"), tmp_path, (None, None), None)
