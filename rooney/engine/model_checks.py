"""Models of a configuration against the strategy that uses them."""

import hashlib
from pathlib import Path

import msgspec

from rooney.config.check import Finding
from rooney.config.settings import StrategyConfig
from rooney.errors import BundleError, StrategyError
from rooney.models.bundle import SHOWN, Bundle
from rooney.models.forest import Model, NoModel, read_models
from rooney.strategy.digest import other_code
from rooney.strategy.loader import load


def configured_vetoes(strategy: StrategyConfig) -> dict[str, Model | NoModel]:
    """Veto of each traded instrument; one without a model is traded freely or not at all, as
    `on_missing_model` says, and one that a bundle leaves out not at all. Raises ModelError for a file that is no model
    of it, BundleError for a bundle that cannot be used.
    """
    directory = strategy.models_path
    if directory is None:
        return {}
    if strategy.bundle is not None:
        found: dict[str, Model | NoModel] = {**bundle_models(strategy, strategy.bundle)}
    else:
        found = {**read_models(directory, strategy.traded, Path(strategy.strategy).stem)}
    if strategy.bundle is not None or strategy.settings.on_missing_model == "refuse":
        found |= {symbol: NoModel() for symbol in strategy.traded if symbol not in found}
    return found


def bundle_models(strategy: StrategyConfig, bundle: Bundle) -> dict[str, Model]:
    """The models of the traded instruments. Raises BundleError for files that are not those promoted, and for models
    that learned from other kernels, features, rules or parameters than this process has.
    """
    bundle.check_files()
    models = read_models(bundle.path, strategy.traded, Path(strategy.strategy).stem)
    try:
        other = other_code(bundle.manifest.digests, strategy.strategy, bundle.manifest.features)
    except StrategyError as error:
        raise BundleError(f"{bundle.path}: {error}; not used") from error
    if other:
        was = bundle.manifest.digests
        hashes = ", ".join(
            f"{what} {was.get(what, '')[:SHOWN] or '(none)'}, here {digest[:SHOWN]}" for what, digest in other.items()
        )
        raise BundleError(
            f"{bundle.path}: was promoted with other {' and '.join(other)} than this version of rooney has ({hashes}); "
            "use the version it was promoted with, or train and promote with this one; not used"
        )
    for symbol, model in models.items():
        if model.made_from.get("parameters") != parameters_digest(strategy, symbol):
            raise BundleError(f"{bundle.path}: the model of {symbol} learned from trades of other parameters; not used")
    return models


def parameters_digest(strategy: StrategyConfig, symbol: str) -> str:
    """sha256 of an instrument's parameters: a model knows the trades they make."""
    cls = load(strategy.strategy)
    declared = {key: (param.default, param.low, param.high) for key, param in cls.declared().items()}
    values = {key: float(value) for key, value in strategy.params(declared, symbol).items()}
    return hashlib.sha256(msgspec.msgpack.encode(values, order="deterministic")).hexdigest()


def model_findings(strategy: StrategyConfig) -> list[Finding]:
    """Findings about a strategy's models before it trades: which are missing, which know other trades."""
    directory, path = strategy.models_path, f"{strategy.path}.models_path"
    if strategy.bundle is not None:
        return _bundle_findings(strategy, strategy.bundle)
    if directory is None:
        return []
    models = read_models(directory, strategy.traded, Path(strategy.strategy).stem)
    found = []
    if absent := [symbol for symbol in strategy.traded if symbol not in models]:
        what = "trade without a veto" if strategy.settings.on_missing_model == "trade" else "enter nothing"
        text = (
            f"no model of {', '.join(absent)} in {directory}: they {what} (on_missing_model); rooney train makes models"
        )
        found.append(Finding("warning", path, text))
    now = {symbol: parameters_digest(strategy, symbol) for symbol in models}  # an imported model does not know its own
    other = [
        symbol for symbol, model in models.items() if model.made_from.get("parameters", now[symbol]) != now[symbol]
    ]
    if other:
        text = f"models of {', '.join(other)} learned from trades of other strategy_params than these; train them anew"
        found.append(Finding("warning", path, text))
    return found


def _bundle_findings(strategy: StrategyConfig, bundle: Bundle) -> list[Finding]:
    said, path = bundle.manifest, f"{strategy.path}.bundle"
    found = [Finding("note", path, f"{bundle.short}, for {', '.join(said.instruments)}")]
    if absent := [symbol for symbol in strategy.traded if symbol not in said.instruments]:
        found.append(Finding("warning", path, f"{bundle.short} leaves out {', '.join(absent)}: they enter nothing"))
    if said.despite:
        missed = "; ".join(f"{symbol}: {', '.join(why)}" for symbol, why in said.missed.items())
        text = f"{bundle.short} was promoted although it missed gates ({said.despite}), so not for mode live: {missed}"
        found.append(Finding("warning", path, text))
    return found
