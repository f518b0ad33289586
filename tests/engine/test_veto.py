"""From trades to a model that judges: the same numbers in training, backtest and live, decision by decision."""

import json
import math
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier

from research.backtest import backtest
from research.history.history import History
from research.models import dataset as training
from research.models import forest as forests
from research.models import promote
from rooney.config.loader import load_config
from rooney.engine.build import build_engine
from rooney.engine.engine import Engine
from rooney.engine.model_checks import model_findings, parameters_digest
from rooney.engine.veto import model_field
from rooney.errors import ModelError
from rooney.kernels.codes import OutcomeKind, Reason
from rooney.kernels.scan import _mix
from rooney.market import sessions
from rooney.market.bars import ClosedMinute, ContractMinute
from rooney.market.instruments import PRODUCTS, Contract, group_of
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.market.tape import MinuteAssembler
from rooney.models.forest import Model, path_of, read_model, write_model
from rooney.orders.decisions import Decisions, Outcome
from rooney.strategy.digest import code_digests
from tests.support.paths import ROOT

CONFIG = ROOT / "config.multi_alpha.yml"
ROOTS = ["ES", "GC", "ZC"]
FEATURES = ("ibs", "hourly_directional_drift", "weekday")  # one set for the whole file: a step is compiled once for it
FIRST = date(2026, 3, 9)
MONTHS = {"ES": 3, "GC": 4, "ZC": 5}


def strategy(models: Path | None, roots: list[str] = ROOTS, **settings: Any) -> Any:
    """The shipped IBS on some roots, its models in a folder."""
    return load_config(CONFIG, overrides(models, roots, settings)).strategy("ibs")


def overrides(models: Path | None, roots: list[str], settings: dict[str, Any]) -> list[str]:
    changed = {"instruments": roots, "models_path": models and str(models), "max_positions": 3, **settings}
    return [f"strategies.ibs.{key}={json.dumps(value)}" for key, value in changed.items()]


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One-minute bars of five sessions; thin, so that nothing is regular."""
    rng = np.random.default_rng(2)
    rows = []
    start = sessions.session_open_ns("fx", FIRST)
    for root in ROOTS:
        tick, price = PRODUCTS[root].tick_size, 4000
        for ts in range(start, start + 5 * 24 * HOUR_NS, MINUTE_NS):
            if rng.random() < 0.7 or sessions.window_at(group_of(root), ts) is None:
                continue
            o, c = price + int(rng.integers(-3, 4)), price + int(rng.integers(-9, 10))
            h, low = max(o, c) + int(rng.integers(0, 3)), min(o, c) - int(rng.integers(0, 3))
            price = c
            rows.append(
                (
                    root,
                    Contract(root, 2026, MONTHS[root]).raw,
                    ts,
                    *(round(x * tick * 1e9) / 1e9 for x in (o, h, low, c)),
                    5,
                )
            )
    names = ["root", "contract", "ts_open", "open", "high", "low", "close", "volume"]
    path = tmp_path_factory.mktemp("veto") / "bars.parquet"
    frame = pl.DataFrame(rows, schema=names, orient="row")
    frame.with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC"))).sort("ts_open").write_parquet(path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forests of noise for ES and GC; none for ZC."""
    folder = tmp_path_factory.mktemp("models")
    for symbol in ("ES", "GC"):
        write_model(_model(symbol), path_of(folder, symbol))
    return folder


def _model(symbol: str, features: tuple[str, ...] = FEATURES) -> Model:
    rng = np.random.default_rng(len(symbol) + ord(symbol[0]))
    rows = rng.uniform((0.0, -2.0, 1.0), (0.2, 2.0, 5.0), (300, 3))
    forest = RandomForestClassifier(30, max_depth=5, random_state=0).fit(rows, rng.integers(0, 2, 300))
    return Model(
        strategy="ibs",
        symbol=symbol,
        features=features,
        threshold=0.5,
        n_trees=30,
        span=(0, 1),
        made_from={"parameters": parameters_digest(strategy(None), symbol), **code_digests("ibs", FEATURES)},
        **forests.arrays(forests.flatten(forest)),
    )


class Live:
    """The hub's assembler and the worker's engine over the bars of a file; every intent acknowledged."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.decisions: list[Decisions] = []
        self.values: dict[tuple[str, int], Any] = {}  # by instrument and mark, where an entry was decided
        self.digest = backtest._DIGEST_START
        assembler = MinuteAssembler((i.symbol, i.group, False) for i in engine.instruments)
        by_minute: dict[int, list[ContractMinute]] = {}
        for row in pl.read_parquet(path).with_columns(pl.col("ts_open").dt.timestamp("ns")).iter_rows(named=True):
            contract = Contract(row["root"], 2026, MONTHS[row["root"]])
            assembler.list_contract(contract)
            prices = [round(row[name] * 1e9) for name in ("open", "high", "low", "close")]
            by_minute.setdefault(row["ts_open"], []).append(ContractMinute(contract, *prices, int(row["volume"]), 1))
        outcomes: list[Outcome] = []
        groups = {instrument.group for instrument in engine.instruments}
        for ts in range(min(by_minute), max(by_minute) + MINUTE_NS, MINUTE_NS):
            if ts not in by_minute and not any(sessions.window_at(group, ts) for group in groups):
                continue
            minute = assembler.assemble(ClosedMinute(ts + MINUTE_NS, by_minute.get(ts, []), 0), lambda: 0).minute
            decided = engine.on_minute(minute, outcomes)
            self._note(engine, decided)
            outcomes = [
                Outcome(intent.symbol, intent.role, minute.ts_close, OutcomeKind.ACKNOWLEDGED, minute.ts_close)
                for intent in decided.intents
            ]

    def _note(self, engine: Engine, decided: Decisions) -> None:
        self.decisions.append(decided)
        for row in engine._intents.view(np.int64).reshape(len(engine._intents), -1)[: len(decided.intents)].tolist():
            self.digest = _mix(self.digest, decided.ts_mark)
            for word in row:
                self.digest = _mix(self.digest, word)
        for i, reason in enumerate(engine._reasons.tolist()):
            if reason:
                self.digest = _mix(_mix(self.digest, decided.ts_mark), i * 64 + reason)
        for one in decided.evaluated:
            if one.reason is Reason.ENTER_LONG:
                self.values[one.symbol, decided.ts_mark] = engine.values(one.symbol)

    def reasons(self, symbol: str) -> set[Reason]:
        return {one.reason for each in self.decisions for one in each.evaluated if one.symbol == symbol}


@pytest.fixture(scope="module")
def live(bars: Path, models: Path) -> tuple[Live, Engine]:
    engine = build_engine(strategy(models, on_missing_model="refuse"))
    return Live(engine, bars), engine


def test_a_backtest_with_models_is_the_live_step_with_them_decision_by_decision(
    live: tuple[Live, Engine], bars: Path, models: Path
) -> None:
    """Same digest of every intent and reason, same trades with their scores, same final bytes."""
    stepped, engine = live
    scanned = build_engine(strategy(models, on_missing_model="refuse"))
    history = History(bars, ROOTS)
    scan = backtest.Scan(scanned, history)
    for chunk in history.chunks():
        scan.step(chunk)
    assert scan.digest == stepped.digest
    assert scanned.freeze() == engine.freeze()
    trades = [trade for decided in stepped.decisions for trade in decided.trades]
    assert [(t.symbol, t.entry_price, t.pnl_usd, t.score) for t in trades] == list(
        scan.trades().select("symbol", "entry_price", "pnl_usd", "ml_score").iter_rows()
    )
    assert trades
    assert all(trade.score >= 0.5 for trade in trades)


def test_the_same_models_in_a_bundle_are_the_same_engine(
    live: tuple[Live, Engine], models: Path, tmp_path: Path
) -> None:
    """One digest, of step, settings and forests: what holds of a folder of models holds of a bundle, decision by
    decision; ZC, which it leaves out, enters nothing.
    """
    good = {
        "deflated_sharpe": 1.0,
        "overfitting": 0.0,
        "paths": 5.0,
        "path_share": 1.0,
        "kept_trades": 500.0,
        "final_kept": 100.0,
        "final_sharpe_probability": 1.0,
    }
    told = {
        symbol: {"confirmed": True, "sha256": read_model(path_of(models, symbol)).digest(), "measures": good}
        for symbol in ("ES", "GC")
    }
    (models / "training.json").write_text(json.dumps({"instruments": told}))
    config = load_config(CONFIG, [*overrides(None, ROOTS, {}), f"strategies.ibs.bundle={tmp_path}"])
    assert promote.promote(config, "ibs", models, {}).bundle is not None
    assert build_engine(config.strategy("ibs")).digest == live[1].digest


def test_an_entry_is_judged_vetoed_or_left_for_want_of_a_value_or_a_model(live: tuple[Live, Engine]) -> None:
    stepped, _ = live
    judged = stepped.reasons("ES") | stepped.reasons("GC")
    assert {Reason.ENTER_LONG, Reason.VETOED, Reason.NO_SCORE} <= judged
    assert Reason.NO_MODEL in stepped.reasons("ZC")
    assert Reason.ENTER_LONG not in stepped.reasons("ZC")


def test_every_judged_decision_carries_the_score_of_the_features_it_names(
    live: tuple[Live, Engine], models: Path
) -> None:
    """Score and features of a decision, as the ledger keeps them: the model's votes on them, bit by bit."""
    stepped, _ = live
    loaded = {symbol: read_model(path_of(models, symbol)) for symbol in ("ES", "GC")}
    count = 0
    for decided in stepped.decisions:
        for one in decided.evaluated:
            row = [one.features[model_field(name)] for name in FEATURES]
            if one.reason in (Reason.VETOED, Reason.ENTER_LONG):
                model = loaded[one.symbol]
                assert forests.predict(model.nodes(), model.n_trees, np.array([row]))[0] == one.score
                assert (one.score >= model.threshold) == (one.reason is Reason.ENTER_LONG)
                count += 1
            elif one.reason is Reason.NO_SCORE:
                assert any(math.isnan(value) for value in row)
    assert count > 5


def test_training_rows_are_what_the_live_step_saw_when_it_decided(bars: Path) -> None:
    plain = training.unlimited(strategy(None))
    engine = build_engine(plain, training.resolve(FEATURES), {})
    stepped = Live(engine, bars)
    sets = training.collect(strategy(None), History(bars, ROOTS), FEATURES)
    columns = [engine.compiled.layout.fields.index(model_field(name)) for name in FEATURES]
    trades = {(t.symbol, t.exit_ts): t.pnl_usd for decided in stepped.decisions for t in decided.trades}
    rows = 0
    for symbol, samples in sets.items():
        for k in range(len(samples)):
            seen = stepped.values[symbol, int(samples.start_ns[k])][columns]
            np.testing.assert_array_equal(samples.rows[k], seen)
            assert trades[symbol, int(samples.end_ns[k])] == samples.pnl_usd[k]
            rows += 1
    assert rows == len(trades) > 10


def test_cutting_the_history_changes_no_row_that_was_over(bars: Path) -> None:
    """No look-ahead: features, label and span of a trade hang on nothing after its exit."""
    whole = training.collect(strategy(None), History(bars, ROOTS), FEATURES)
    stamps = pl.read_parquet(bars)["ts_open"]
    kept = 0
    for share in (0.5, 0.8):
        cut = stamps[int(len(stamps) * share)]
        part = training.collect(strategy(None), History(bars, ROOTS, end=cut), FEATURES)
        for symbol, samples in part.items():
            over = whole[symbol].before(int(cut.timestamp()) * 1_000_000_000)
            n = len(samples)
            assert n >= len(over)
            for name in ("rows", "start_ns", "end_ns", "pnl_usd"):
                np.testing.assert_array_equal(getattr(samples, name), getattr(whole[symbol], name)[:n])
            kept += len(over)
    assert kept > 5


def test_a_set_does_not_hang_on_slots_or_limits_of_the_account(bars: Path) -> None:
    free = training.collect(strategy(None), History(bars, ROOTS), FEATURES)
    poor = strategy(None, max_positions=1, daily_stop_loss=1, starting_cash=100)
    tight = training.collect(poor, History(bars, ROOTS), FEATURES)
    for symbol in ROOTS:
        np.testing.assert_array_equal(free[symbol].start_ns, tight[symbol].start_ns)


def test_without_models_an_instrument_trades_freely_or_not_at_all_and_check_says_which(tmp_path: Path) -> None:
    freely, refused = (strategy(tmp_path, on_missing_model=what) for what in ("trade", "refuse"))
    assert build_engine(freely).digest == build_engine(strategy(None, on_missing_model="trade")).digest
    assert build_engine(freely).digest != build_engine(refused).digest
    for one, said in ((freely, "trade without a veto"), (refused, "enter nothing")):
        (finding,) = model_findings(one)
        assert (finding.level, finding.path) == ("warning", "strategies.ibs.models_path")
        assert "no model of ES, GC, ZC" in finding.text
        assert said in finding.text
    assert model_findings(strategy(None)) == []


def test_a_model_of_other_parameters_is_pointed_out(models: Path) -> None:
    assert len(model_findings(strategy(models))) == 1
    _, finding = model_findings(strategy(models, strategy_params={"time_stop_bars": 3}))
    assert "ES, GC learned from trades of other strategy_params" in finding.text


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (("ibs", "weekday", "moon"), r"ES\.model: reads 'moon', which this version does not know"),
        (("ibs", "weekday", "daily_adx_value_v1"), r"ES\.model: reads 'daily_adx_value_v1', which reads the future"),
    ],
)
def test_a_model_whose_features_cannot_be_computed_live_is_refused(
    features: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    write_model(_model("ES", features), path_of(tmp_path, "ES"))
    with pytest.raises(ModelError, match=said):
        build_engine(strategy(tmp_path))


def test_check_and_worker_refuse_a_damaged_model_by_its_file(models: Path, tmp_path: Path) -> None:
    content = path_of(models, "ES").read_bytes()
    path_of(tmp_path, "ES").write_bytes(content[:-1])
    settings = ["--set", f"strategies.ibs.models_path={tmp_path}", "--set", "strategies.ibs.mode=dry"]
    for verb in (["check", "--offline"], ["worker", "ibs", "--state", str(tmp_path / "state")]):
        command = [sys.executable, "-m", "rooney", *verb, "--config", str(CONFIG), *settings]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 78, done.stdout + done.stderr
        assert "ES.model: was cut off or changed" in done.stdout + done.stderr


# ── the command ──


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hours of ES for two years; what is bought from Monday to Wednesday rises, on other days it falls."""
    rng = np.random.default_rng(7)
    begin, end = (sessions.session_open_ns("equity", day) for day in (date(2024, 1, 3), date(2026, 1, 6)))
    rows, price = [], 20_000
    for ts in range(begin - begin % HOUR_NS, end, HOUR_NS):
        if sessions.window_at("equity", ts) is None:
            continue
        weekday = datetime.fromtimestamp(ts / 1e9, UTC).astimezone(sessions.CHICAGO).isoweekday()
        drift = 10 if weekday <= 3 else -10
        o = price
        c = o + round(float(rng.normal(drift, 32)))
        h, low = max(o, c) + int(rng.integers(0, 12)), min(o, c) - int(rng.integers(0, 12))
        price = max(10_000, c)
        rows.append(("ES", "ESH6", "hourly", ts, o / 4, h / 4, low / 4, c / 4, 100))
    names = ["root", "contract", "timeframe", "ts_open", "open", "high", "low", "close", "volume"]
    path = tmp_path_factory.mktemp("market") / "hours.parquet"
    frame = pl.DataFrame(rows, schema=names, orient="row")
    frame.with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC"))).write_parquet(path)
    return path


def _rooney(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-m",
        "rooney",
        *arguments,
        "--config",
        str(CONFIG),
        "--set",
        "strategies.ibs.on_missing_model=refuse",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_market_with_a_reason_gives_a_bundle_and_the_bundle_gives_better_trades(market: Path, tmp_path: Path) -> None:
    """`rooney train`, `rooney promote`, then `rooney backtest` with what was promoted: the whole way by files."""
    common = ["--data", str(market), "--symbols", "ES", "--json", "--out"]
    done = _rooney(
        "train",
        "ibs",
        *common,
        str(tmp_path / "models"),
        "--features",
        ",".join(FEATURES),
        "--trials",
        "3",
        "--trees",
        "30",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["instruments"]["ES"]
    assert found["confirmed"]
    model = read_model(path_of(tmp_path / "models", "ES"))
    assert (model.digest(), model.threshold, model.features) == (found["sha256"], found["threshold"], FEATURES)
    page = (tmp_path / "models" / "report.html").read_text()
    assert "confirmed" in page
    assert 'src="http' not in page
    measures = found["measures"]
    assert measures["final_kept"] >= 30
    assert measures["final_pnl_usd"] > 0
    assert measures["final_sharpe_probability"] >= 0.8  # the period put away confirms what was planted
    plain = ["--set", "strategies.ibs.models_path=null"]
    bundled = [*plain, "--set", f"strategies.ibs.bundle={tmp_path / 'bundles'}"]
    done = _rooney("promote", "ibs", "--from", str(tmp_path / "models"), "--json", *bundled)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["instruments"] == ["ES"]
    results = {}
    for name, given in (("with", bundled), ("without", plain)):
        tested = _rooney("backtest", "ibs", *common, str(tmp_path / name), *given)
        assert tested.returncode == 0, tested.stderr
        results[name] = pl.read_parquet(tmp_path / name / "trades.parquet")
    judged, free = results["with"], results["without"]
    assert judged["ml_score"].min() >= model.threshold
    assert free["ml_score"].is_nan().all()
    assert judged["pnl_usd"].mean() > free["pnl_usd"].mean()
    assert 0 < len(judged) < len(free)
