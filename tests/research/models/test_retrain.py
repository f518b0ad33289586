"""The next models beside those in force: what is compared, what is said, and that nothing is promoted unasked."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.models import retrain
from research.models.dataset import TrainingSet
from research.models.forest import arrays
from research.models.train import Verdict
from rooney.cli.models import run_retrain
from rooney.cli.options import Call
from rooney.config.loader import Config
from rooney.config.schema import Gates, Retrain
from rooney.engine.model_checks import parameters_digest
from rooney.errors import ConfigError
from rooney.kernels.dtypes import NODE
from rooney.models import bundle
from rooney.models.forest import Model
from rooney.strategy.digest import code_digests
from tests.support.bundles import FEATURES, config, promoted, training
from tests.support.engines import SCRIPTED

DAY_NS = 86_400_000_000_000
LAST_NS = 100 * DAY_NS  # what either model was fitted to ends here


def forest(symbol: str, cut: float, span: tuple[int, int] = (0, LAST_NS), **made_from: str) -> Model:
    """Keeps a trade whose feature is above `cut`."""
    nodes = np.zeros(3, NODE)
    nodes["left"], nodes["right"] = [1, -1, -1], [2, -1, -1]
    nodes["threshold"], nodes["leaf"] = [cut, 0.0, 0.0], [0.0, 0.0, 1.0]
    return Model(
        strategy="scripted",
        symbol=symbol,
        features=FEATURES,
        threshold=0.5,
        n_trees=1,
        span=span,
        made_from=made_from,
        **arrays(nodes),
    )


def trades(symbol: str = "ES", n: int = 200) -> TrainingSet:
    """One a day; those with a larger feature earn."""
    rng = np.random.default_rng(1)
    rows = rng.uniform(0.0, 1.0, (n, 1))
    pnl = np.where(rows[:, 0] > 0.5, 100.0, -100.0) + rng.normal(0.0, 30.0, n)
    start = np.arange(n) * DAY_NS
    return TrainingSet(symbol, FEATURES, rows, start, start + 1, pnl)


def test_both_judge_the_trades_that_came_after_what_either_was_fitted_to() -> None:
    sets = trades()
    found, days, difference = retrain.evaluate({"ES": sets}, {"ES": forest("ES", 0.5)}, {"ES": forest("ES", 0.25)})
    later = sets.since(LAST_NS + 1)
    assert found["ES"]["trades"] == len(later) == 99
    for key, cut in (("new", 0.5), ("in_force", 0.25)):
        kept = later.rows[:, 0].astype(np.float32) > np.float32(cut)
        assert found["ES"][f"{key}_kept"] == kept.sum()
        assert found["ES"][f"{key}_usd"] == pytest.approx(later.pnl_usd[kept].sum())
    assert days.tolist() == list(range(101, 200))
    assert difference.sum() == pytest.approx(found["ES"]["new_usd"] - found["ES"]["in_force_usd"])
    assert difference.sum() > 0


def test_an_instrument_only_one_of_them_has_earns_for_that_one_alone() -> None:
    sets = {"ES": trades("ES"), "NQ": trades("NQ"), "GC": trades("GC")}
    found, _, difference = retrain.evaluate(sets, {"ES": forest("ES", 0.5)}, {"NQ": forest("NQ", 0.5)})
    assert set(found) == {"ES", "NQ"}
    assert (found["ES"]["in_force_kept"], found["NQ"]["new_kept"]) == (0, 0)
    assert difference.sum() == pytest.approx(0.0)


def test_a_trade_with_a_missing_feature_is_entered_by_neither() -> None:
    sets = trades()
    holes = TrainingSet("ES", FEATURES, np.full_like(sets.rows, np.nan), sets.start_ns, sets.end_ns, sets.pnl_usd)
    found, _, _ = retrain.evaluate({"ES": holes}, {"ES": forest("ES", 0.0)}, {"ES": forest("ES", 0.0)})
    assert (found["ES"]["new_kept"], found["ES"]["in_force_kept"]) == (0, 0)


# ── the decision; the search itself is `test_train`'s ──


class History:
    """What a summary asks of the bars."""

    start_ns, end_ns = 0, 200 * DAY_NS
    findings: tuple[()] = ()

    def digest(self) -> str:
        return "0" * 64


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The search's result is given: the models that it confirms, by symbol."""

    def give(one: Config, **models: Model) -> None:
        def train_all(strategy: Any, history: Any, sets: Any, plan: Any, jobs: int, progress: Any) -> list[Verdict]:
            good = {
                "deflated_sharpe": 1.0,
                "overfitting": 0.0,
                "paths": 5.0,
                "path_share": 1.0,
                "kept_trades": 500.0,
                "final_kept": 99.0,
                "final_sharpe_probability": 1.0,
            }
            return [Verdict(symbol, model, [], good, [], model) for symbol, model in models.items()]

        monkeypatch.setattr(
            retrain, "collect", lambda *given: (History(), {symbol: trades(symbol) for symbol in models})
        )
        monkeypatch.setattr(retrain, "train_all", train_all)

    return give


def own(one: Config, cut: float, symbol: str = "ES") -> Model:
    """A model that this configuration can promote."""
    strategy = one.wanted("a")
    made_from = {"parameters": parameters_digest(strategy, symbol), **code_digests(SCRIPTED, FEATURES)}
    return forest(symbol, cut, **made_from)


def run(one: Config, out: Path) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        run_retrain(Call(), one, (), out, 1)
    return int(str(ended.value.code)), json.loads((out / "a" / "evaluation.json").read_text())


def test_better_models_wait_for_an_operator_unless_the_block_says_promote(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"data": "bars", "features": list(FEATURES)}
    one = config(tmp_path, instruments=["ES"], retrain=asked)
    assert promoted(one, training(tmp_path / "first", one)) == 0  # lets everything in
    was = bundle.in_force(tmp_path / "bundles")
    made(one, ES=own(one, 0.5))
    code, told = run(one, tmp_path / "out")
    assert (code, told["is_better"], told["in_force"]) == (1, True, was)
    assert told["probability"] > 0.8
    assert bundle.in_force(tmp_path / "bundles") == was
    assert f"rooney promote a --from {tmp_path / 'out' / 'a'}" in capsys.readouterr().out
    assert "Beside the bundle in force" in (tmp_path / "out" / "a" / "report.html").read_text()
    code, _ = run(config(tmp_path, instruments=["ES"], retrain=asked | {"promote": True}), tmp_path / "out")
    now = bundle.read_bundle(tmp_path / "bundles")
    assert (code, now.name != was) == (0, True)
    assert "evaluation.json" in now.manifest.files


def test_models_that_choose_worse_are_not_promoted_even_where_the_block_says_promote(made: Any, tmp_path: Path) -> None:
    one = config(tmp_path, instruments=["ES"], retrain={"data": "bars", "promote": True, "features": list(FEATURES)})
    made(one, ES=own(one, 0.5))
    assert run(one, tmp_path / "first")[0] == 0  # nothing was in force: it is promoted
    was = bundle.in_force(tmp_path / "bundles")
    assert was is not None
    made(one, ES=own(one, 0.0))
    code, told = run(one, tmp_path / "second")
    assert (code, told["is_better"]) == (0, False)
    assert told["verdict"].startswith("keep what is in force: new less in force -")
    assert bundle.in_force(tmp_path / "bundles") == was


@pytest.mark.parametrize(
    ("chance", "is_better"), [(0.8, True), (math.nextafter(0.8, 0.0), False), (math.nan, False), (1.0, True)]
)
def test_new_models_are_better_from_just_the_probability_on_that_the_block_wants(
    chance: float, is_better: bool, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Retrain(data="bars").min_better == 0.8
    one = config(tmp_path, instruments=["ES"], retrain={"data": "bars", "features": list(FEATURES)})
    assert promoted(one, training(tmp_path / "first", one)) == 0
    made(one, ES=own(one, 0.5))
    monkeypatch.setattr(retrain.selection, "probabilistic_sharpe", lambda difference: chance)
    assert run(one, tmp_path / "out")[1]["is_better"] == is_better


def test_a_bundle_of_other_code_is_as_none_and_is_said(made: Any, tmp_path: Path) -> None:
    one = config(tmp_path, instruments=["ES"], retrain={"data": "bars", "features": list(FEATURES)})
    assert promoted(one, training(tmp_path / "first", one)) == 0
    held = bundle.read_bundle(tmp_path / "bundles")
    (held.path / "ES.model").write_bytes(b"")
    made(one, ES=own(one, 0.5))
    code, told = run(one, tmp_path / "out")
    assert (code, told["in_force"]) == (1, None)
    assert "ES.model was cut off or changed" in told["unusable"]


def test_one_strategy_that_cannot_be_trained_keeps_no_other_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = config(tmp_path, instruments=["ES"], bundle=None, retrain={"data": "bars"})
    call = Call()
    call.as_json = True
    with pytest.raises(SystemExit, match="78"):
        run_retrain(call, one, (), tmp_path / "out", 1)
    assert "strategies.a.bundle: no such key" in json.loads(capsys.readouterr().out)["strategies"]["a"]["error"]
    with pytest.raises(ConfigError, match=r"strategies\.a\.retrain: no such key"):
        retrain.retrain(config(tmp_path), "a", tmp_path / "out", 1)


def test_the_plan_confirms_what_the_gates_let_through() -> None:
    gates = Gates(
        min_trades=60, min_final_trades=12, min_deflated_sharpe=0.9, max_overfitting=0.3, min_final_sharpe=0.7
    )
    plan = retrain.plan_of(Retrain(data="bars", trials=7), gates)
    found = (
        plan.min_trades,
        plan.min_final_trades,
        plan.min_deflated_sharpe,
        plan.max_overfitting,
        plan.min_final_sharpe,
    )
    assert found == (60, 12, 0.9, 0.3, 0.7)
    assert plan.trials == 7
