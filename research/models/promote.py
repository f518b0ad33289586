"""`rooney promote`: from a training and its evidence to a bundle that may trade, or to the reasons why not.

Evidence is read by the fields that are named here, whatever else a file says:

    training.json   instruments: confirmed, reasons, sha256, measures       (`rooney train`)
    optimize.json   confirmed, reasons, strategy_params, measures           (`rooney optimize`, if it was used)
    portfolio.json  confirmed, reasons, instruments, selected               (`rooney portfolio`, if it was used)

Each instrument is judged by itself. What misses a gate is left out, and if nothing is left, nothing is promoted.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from rooney.config.loader import Config
from rooney.config.schema import Gates
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine
from rooney.engine.model_checks import parameters_digest
from rooney.errors import BundleError, ConfigError
from rooney.files import decode_json, read_bytes, read_json
from rooney.models import bundle
from rooney.models.bundle import Bundle, Manifest
from rooney.models.forest import UNCONFIRMED, Model, path_of, read_model
from rooney.strategy.digest import code_digests, other_code
from rooney.strategy.loader import load

TRAINING, OPTIMIZE, PORTFOLIO = "training.json", "optimize.json", "portfolio.json"
EVALUATION, REPORT = "evaluation.json", "report.html"  # taken along

_NOTHING = "nothing promoted"


class Trained(msgspec.Struct, frozen=True):
    """An instrument of `training.json`. sha256: of its model's content; None where there is none."""

    confirmed: bool
    reasons: list[str] = []
    sha256: str | None = None
    measures: dict[str, float | None] = {}


class Training(msgspec.Struct, frozen=True):
    """The part of `training.json` that is read."""

    instruments: dict[str, Trained]


class Optimized(msgspec.Struct, frozen=True):
    """The part of `optimize.json` that is read."""

    strategy_params: dict[str, bundle.Value]
    confirmed: bool = True
    reasons: list[str] = []
    measures: dict[str, float | None] = {}


class Selected(msgspec.Struct, frozen=True):
    """The part of `portfolio.json` that is read. instruments: to trade; selected: those not confirmed."""

    instruments: list[str]
    confirmed: bool = True
    reasons: list[str] = []
    selected: list[str] = []


class Judged(msgspec.Struct, frozen=True):
    """Judgement of a training. missed: by instrument, why its model is not promoted, or was in spite of it."""

    models: dict[str, Model]
    missed: dict[str, list[str]]
    files: dict[str, bytes]


# ── the decision ──


def missed_gates(trained: Trained, gates: Gates) -> list[str]:
    """Gates that an instrument's evidence misses; what was not measured is missed."""
    said = {key: math.nan if value is None else value for key, value in trained.measures.items()}

    def least(key: str, what: str, gate: float, form: str = "g") -> list[str]:
        value = said.get(key, math.nan)
        return [] if value >= gate else [f"{what} {value:{form}} (least {gate:{form}})"]

    if not trained.confirmed:
        return trained.reasons or ["was not confirmed"]
    overfitting = said.get("overfitting", math.nan)
    return [
        *least("paths", "paths of the cross-validation:", gates.min_paths),
        *least("path_share", "share of paths with an excess", gates.min_path_share, ".2f"),
        *least("kept_trades", "trades kept on the path that keeps fewest:", gates.min_trades),
        *least("deflated_sharpe", "deflated Sharpe ratio", gates.min_deflated_sharpe, ".3f"),
        *(
            []
            if overfitting <= gates.max_overfitting
            else [f"probability of overfitting {overfitting:.2f} (most {gates.max_overfitting:.2f})"]
        ),
        *least("final_kept", "trades kept in the final period:", gates.min_final_trades),
        *least("final_sharpe_probability", "probability of an excess there", gates.min_final_sharpe, ".2f"),
    ]


def judge(strategy: StrategyConfig, source: Path, extra: Mapping[str, Path], despite: str) -> Judged:
    """Hold a training against the gates of a strategy. Raises ConfigError for files that do not belong together.

    source: folder of a training, or a bundle; extra: other places of `optimize.json` and `portfolio.json`
    """
    files = {TRAINING: _content(source / TRAINING)}
    for name in (OPTIMIZE, PORTFOLIO, EVALUATION, REPORT):
        path = extra.get(name, source / name)
        if name in extra or path.is_file():
            files[name] = _content(path)
    trained = decode_json(files[TRAINING], Training, source / TRAINING, then=_NOTHING).instruments
    chosen = [symbol for symbol in strategy.traded if symbol in trained]
    missed = {symbol: ["was not trained"] for symbol in strategy.traded if symbol not in trained}
    common = _of_search(files, extra.get(OPTIMIZE, source / OPTIMIZE), strategy.settings.gates)
    if PORTFOLIO in files:
        portfolio = decode_json(files[PORTFOLIO], Selected, extra.get(PORTFOLIO, source / PORTFOLIO), then=_NOTHING)
        if not portfolio.confirmed:
            common += [f"the portfolio: {reason}" for reason in portfolio.reasons or ["was not confirmed"]]
        selected = portfolio.instruments or portfolio.selected
        missed |= {symbol: ["the portfolio leaves it out"] for symbol in chosen if symbol not in selected}
        chosen = [symbol for symbol in selected if symbol in chosen]
    models = {}
    for symbol in chosen:
        one = trained[symbol]
        reasons = common + missed_gates(one, strategy.settings.gates)
        if reasons:
            missed[symbol] = reasons
        if one.sha256 is not None and (despite or not reasons):
            models[symbol] = _model(strategy, source, symbol, one.sha256)
    return Judged(
        models, missed, files | {path_of(Path(), symbol).name: _content(_path(source, symbol)) for symbol in models}
    )


def with_parameters(strategy: StrategyConfig, source: Path, extra: Mapping[str, Path]) -> StrategyConfig:
    """The strategy with the parameters its search found, if it was searched for some."""
    path = extra.get(OPTIMIZE, source / OPTIMIZE)
    if OPTIMIZE not in extra and not path.is_file():
        return strategy
    params = read_json(path, Optimized, bundle.FILE_BYTES, then=_NOTHING).strategy_params
    settings = msgspec.structs.replace(
        strategy.settings, strategy_params={**strategy.settings.strategy_params, **params}
    )
    return msgspec.structs.replace(strategy, settings=settings)


def pack(strategy: StrategyConfig, judged: Judged, despite: str, folder: Path) -> Bundle:
    """Write the bundle; it is not in force yet."""
    declared = {
        key: (param.default, param.low, param.high) for key, param in load(strategy.strategy).declared().items()
    }
    params = strategy.params(declared)
    own = {symbol: strategy.params(declared, symbol) for symbol in judged.models}
    features = tuple(sorted({name for model in judged.models.values() for name in model.features}))
    manifest = Manifest(
        strategy=Path(strategy.strategy).stem,
        instruments=tuple(judged.models),
        strategy_params=params,
        overrides={
            symbol: changed
            for symbol, values in own.items()
            if (changed := {key: value for key, value in values.items() if value != params[key]})
        },
        features=features,
        thresholds={symbol: model.threshold for symbol, model in judged.models.items()},
        digests=code_digests(strategy.strategy, features),
        gates=msgspec.structs.asdict(strategy.settings.gates),
        despite=despite,
        missed={symbol: judged.missed[symbol] for symbol in judged.models if symbol in judged.missed},
    )
    return bundle.write_bundle(folder, manifest, judged.files)


def _of_search(files: Mapping[str, bytes], path: Path, gates: Gates) -> list[str]:
    """Gates that the search for parameters misses; of what it did not measure, none."""
    if OPTIMIZE not in files:
        return []
    found = decode_json(files[OPTIMIZE], Optimized, path, then=_NOTHING)
    if not found.confirmed:
        return [f"the parameters: {reason}" for reason in found.reasons or ["were not confirmed"]]
    reasons = []
    overfitting, sharpe = found.measures.get("overfitting"), found.measures.get("deflated_sharpe")
    if overfitting is not None and not overfitting <= gates.max_overfitting:
        most = f"(most {gates.max_overfitting:.2f})"
        reasons.append(f"the parameters: probability of overfitting {overfitting:.2f} {most}")
    if sharpe is not None and not sharpe >= gates.min_deflated_sharpe:
        reasons.append(f"the parameters: deflated Sharpe ratio {sharpe:.3f} (least {gates.min_deflated_sharpe:.3f})")
    return reasons


def _model(strategy: StrategyConfig, source: Path, symbol: str, sha256: str) -> Model:
    path = _path(source, symbol)
    model = read_model(path)
    wanted = Path(strategy.strategy).stem
    if (model.strategy, model.symbol) != (wanted, symbol):
        raise ConfigError(f"{path}: is the model of {model.symbol} for {model.strategy}; nothing promoted")
    if model.digest() != sha256:
        raise ConfigError(f"{path}: is not the model that {TRAINING} beside it speaks of; nothing promoted")
    if model.made_from.get("parameters") != parameters_digest(strategy, symbol):
        raise ConfigError(
            f"{path}: learned from trades of other strategy_params than {strategy.path} has; train with these, or give "
            "the block those; nothing promoted"
        )
    if "kernels" in other_code(model.made_from, strategy.strategy, model.features):
        raise ConfigError(f"{path}: was trained with other kernels than this version has; train anew; nothing promoted")
    return model


def _path(source: Path, symbol: str) -> Path:
    held = path_of(source, symbol)
    return held if held.is_file() else path_of(source / UNCONFIRMED, symbol)


def _content(path: Path) -> bytes:
    return read_bytes(path, bundle.FILE_BYTES, then=_NOTHING)


# ── putting it in force ──


def folder_of(config: Config, name: str) -> Path:
    """Folder of a strategy's bundles. Raises ConfigError if its block names none, or a single one."""
    given = config.block(name).bundle
    if given is None:
        raise ConfigError(
            f"strategies.{name}.bundle: no such key; name a folder for what is promoted, such as "
            f"/var/lib/rooney/bundles/{name}; nothing promoted"
        )
    folder = config.path.parent / given
    if bundle.is_name(folder.name):
        raise ConfigError(f"strategies.{name}.bundle: names one bundle; to promote, name its folder; nothing promoted")
    return folder


class Promoted(NamedTuple):
    """A promotion's outcome. bundle: now in force, None if nothing was; was: name of the one before; missed: gates."""

    bundle: Bundle | None
    was: str | None
    instruments: list[str]
    missed: dict[str, list[str]]


def promote(
    config: Config, name: str, source: Path, extra: Mapping[str, Path], despite: str = "", *, dry_run: bool = False
) -> Promoted:
    """Judge a training, pack what passes, put it in force. Raises ConfigError, and then nothing has changed."""
    folder = folder_of(config, name)
    strategy = with_parameters(config.wanted(name), source, extra)
    judged = judge(strategy, source, extra, despite)
    packed = pack(strategy, judged, despite, folder) if judged.models and not dry_run else None
    was = None
    if packed is not None:
        build_engine(config.strategy(name, packed))  # what its worker would refuse is not put in force
        was = bundle.switch(folder, packed.name)
    return Promoted(packed, was, list(judged.models), judged.missed)


def switch(config: Config, name: str, wanted: str | None) -> tuple[Bundle, str | None]:
    """Put a bundle that was kept in force again; returns it and the name of the one before.

    wanted: how its name begins; None: the one before
    """
    folder = folder_of(config, name)
    if wanted is None:
        wanted = bundle.before(folder)
        if wanted is None:
            raise BundleError(f"{folder}: there is no bundle before this one; nothing changed")
    there = [kept for kept in bundle.kept(folder) if kept.name.startswith(wanted)]
    if len(there) != 1:
        known = ", ".join(kept.short for kept in bundle.kept(folder)) or "none"
        raise BundleError(f"{folder}: {len(there)} bundles begin with {wanted!r}; there are {known}; nothing changed")
    (held,) = there
    build_engine(config.strategy(name, held))
    return held, bundle.switch(folder, held.name)
