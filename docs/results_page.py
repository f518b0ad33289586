"""Results of the research verbs, as they are: `python -m docs.results_page DATA --work DIR`.

Breakout on hours and IBS on sessions, on whatever bars DATA holds, by what the verbs run: `train`, `optimize`,
`portfolio` as configured and `portfolio` with the parameters found. The last two years are put away from searching and
choosing. The page is made of the files those leave in DIR; those that are there already are not made again.
"""

import argparse
import platform
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from research.models import training
from research.models.dataset import DEFAULT_FEATURES
from research.models.train import Plan as TrainPlan
from research.optimize import instruments as portfolio
from research.optimize import parameters as optimize
from research.optimize.report import CLOSES_ONLY, ratio, share, usd, value
from research.optimize.search import choose_instruments, search_parameters
from rooney.config.loader import load_config
from rooney.config.settings import StrategyConfig
from rooney.files import MIB, read_json
from rooney.market.instruments import PRODUCTS

DAILY = Path(__file__).with_name("examples") / "ibs_daily.py"


class Cost(msgspec.Struct, frozen=True):
    """What a search took here."""

    seconds: float
    peak_mib: int
    machine: str


def strategies(config: str) -> dict[str, StrategyConfig]:
    """Breakout and daily IBS over every instrument of the configuration that may trade."""
    loaded = load_config(config)
    symbols = [root for root, item in loaded.instruments().items() if root in PRODUCTS and not item.reference]
    chosen = f"instruments=[{','.join(symbols)}]"
    loaded = load_config(config, (f"strategies.breakout.{chosen}", f"strategies.ibs.{chosen}"))
    breakout, ibs = loaded.strategy("breakout"), loaded.strategy("ibs")
    settings = msgspec.structs.replace(ibs.settings, strategy_params={}, overrides={}, filters={})
    daily = msgspec.structs.replace(ibs, name="ibs_daily", strategy=str(DAILY), settings=settings)
    return {"Breakout, hourly": breakout, "IBS, daily": daily}


def main() -> None:
    """Run the research verbs over DATA and say what they find."""
    parser = argparse.ArgumentParser(prog="python -m docs.results_page", description=main.__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", required=True, type=Path, help="folder of the results and reports")
    parser.add_argument("--write", type=Path, help="write the page here [print it]")
    parser.add_argument("--source", default="", help="one sentence on where the data are from")
    parser.add_argument("--config", default="config.multi_alpha.yml", help="configuration file")
    parser.add_argument("--final-from", default="2018-01-01", help="first trade date put away")
    parser.add_argument("--trials", type=int, default=100, help="of a search for parameters")
    parser.add_argument("--forests", type=int, default=5, help="tried for each model")
    parser.add_argument("--trees", type=int, default=50, help="of a forest")
    given = parser.parse_args()
    searched = optimize.Plan(trials=given.trials, final_from=given.final_from)
    text = ""
    for title, strategy in strategies(given.config).items():
        out = given.work / strategy.name
        _make(strategy, given.data, out, searched, TrainPlan(trials=given.forests, trees=given.trees))
        text = text or _head(given.source, optimize.read(out / "optimize.json"))
        text += _section(title, out)
    if given.write is None:
        print(text)
    else:
        given.write.write_text(text)


def _make(strategy: StrategyConfig, data: Path, out: Path, searched: optimize.Plan, forests: TrainPlan) -> None:
    """Run what has left no file yet."""
    span = (None, None)
    if not (out / "optimize.json").is_file():
        _, spent, _ = search_parameters(strategy, data, span, (), searched, out)
        cost = Cost(spent.seconds, spent.peak_mib, f"{platform.machine()}, Python {platform.python_version()}")
        (out / "cost.json").write_bytes(msgspec.json.encode(cost))
    plan = portfolio.Plan(final_from=searched.final_from)
    for how, params in (("configured", None), ("found", out / "optimize.json")):
        if not (out / how / "portfolio.json").is_file():
            choose_instruments(strategy, data, span, params, plan, out / how)
    if not (out / "models" / "training.json").is_file():
        history, sets = training.collect(strategy, data, span, DEFAULT_FEATURES)
        verdicts = training.train_all(strategy, history, sets, forests, 1)
        training.write(out / "models", strategy, forests, DEFAULT_FEATURES, verdicts, history)


def _head(source: str, found: optimize.Optimized) -> str:
    begin, end = (at[:10] for at in found.span)
    note = f" They are {CLOSES_ONLY}." if found.closes_only else ""
    return f"""# What the research finds on real prices

Written by `python -m docs.results_page` on {date.today().isoformat()}, not by hand. {source}{note}
The data run from {begin} to {end} (sha256 `{found.data_sha256[:16]}`). Everything from {found.final_from} on was put
away: nothing was searched or chosen on it; models put away the last quarter of their own trades instead. Commission and
slippage of a tick a side are taken off throughout. Sharpe ratios are of daily P&L, flat days included, per year.

This is what came out, not a selection of it. What is not confirmed here is refused by `rooney promote`.
"""


def _section(title: str, out: Path) -> str:
    found = optimize.read(out / "optimize.json")
    chosen = {how: portfolio.read(out / how / "portfolio.json") for how in ("configured", "found")}
    cost = read_json(out / "cost.json", Cost)
    trained = read_json(out / "models" / "training.json", dict[str, Any], 64 * MIB)
    return (
        f"\n## {title}\n\n"
        + _alone(chosen, found.final_from)
        + _choices(chosen)
        + _search(found, cost)
        + _models(trained)
    )


def _alone(chosen: dict[str, portfolio.Portfolio], final_from: str) -> str:
    """Each instrument in the period put away, and the selection."""
    configured, found = chosen["configured"], chosen["found"]
    lines = [
        f"From {final_from} on, after costs: each instrument alone, with the parameters as configured and as found by",
        "the search; then the selection, and all instruments together:\n",
        "| | trades | P&L, USD | Sharpe | trades, found | P&L, USD | Sharpe | chosen |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for symbol, one in configured.members.items():
        other = found.members[symbol]
        said = ", ".join(how for how, each in chosen.items() if symbol in each.selected)
        lines.append(
            f"| {symbol} | {one.final_trades:,} | {usd(one.final_pnl_usd)} | {ratio(one.final_sharpe)} | "
            f"{other.final_trades:,} | {usd(other.final_pnl_usd)} | {ratio(other.final_sharpe)} | {said} |"
        )
    for name in ("selection", "all"):
        ways = [each.ways[name] for each in (configured, found)]
        trades = [
            f"{each.measures['final_trades']:,.0f}" if name == "selection" else "" for each in (configured, found)
        ]
        cells = [
            f"{n} | {usd(way.final_pnl_usd)} | {ratio(way.final_sharpe)}" for n, way in zip(trades, ways, strict=True)
        ]
        lines.append(f"| **{name}** | {' | '.join(cells)} | |")
    lines.append(
        "\nThe selection and all instruments trade in the slots and under the daily loss limit of the configuration, "
        "which close trades and leave others out: they are no sum of the rows above."
    )
    if configured.without_bars:
        lines.append(f"\nWithout bars: {', '.join(configured.without_bars)}.")
    return "\n".join(lines) + "\n"


def _choices(chosen: dict[str, portfolio.Portfolio]) -> str:
    lines = [
        "\nChoosing instruments (`rooney portfolio`), Sharpe on held-out paths and in the period put away:\n",
        "| parameters | way | paths | worst path | final |",
        "|---|---|---:|---:|---:|",
    ]
    for how, each in chosen.items():
        for name, way in each.ways.items():
            ratios = " | ".join(ratio(x) for x in (way.path_sharpe, way.path_sharpe_worst, way.final_sharpe))
            lines.append(f"| {how} | {name} | {ratios} |")
    lines += ["", "The paths of `found` know what the search has seen: of those rows, only `final` is a test.", ""]
    for how, each in chosen.items():
        names = ", ".join(each.selected) or "none"
        lines.append(f"- {how}: {names}. {_said(each.confirmed, each.reasons)}")
    return "\n".join(lines) + "\n"


def _search(found: optimize.Optimized, cost: Cost) -> str:
    m, pruned = found.measures, sum(trial.value is None for trial in found.trials)
    params = ", ".join(
        f"`{key}` {value(found.strategy_params[key])} ({value(found.configured[key])})" for key in found.search
    )
    return (
        f"\nSearching parameters (`rooney optimize`), {len(found.instruments)} instruments × 45 splits × "
        f"{len(found.trials)} trials of the compiled backtest: {cost.seconds:.0f} s and {cost.peak_mib:,} MiB in one "
        f"process ({cost.machine}, beside others), compiling and reading included; {pruned} pruned. "
        f"Found (configured): {params}.\n\n"
        "| Sharpe, searched | of choosing, paths | worst path | deflated | overfitting | final | final P&L, USD |\n"
        "|---:|---:|---:|---:|---:|---:|---:|\n"
        f"| {ratio(m.get('sharpe'))} | {ratio(m.get('path_sharpe'))} | {ratio(m.get('path_sharpe_worst'))} | "
        f"{share(m.get('deflated_sharpe'))} | {share(m.get('overfitting'))} | {ratio(m.get('final_sharpe'))} | "
        f"{usd(m.get('final_pnl_usd'))} |\n\n{_said(found.confirmed, found.reasons)}\n"
    )


def _models(trained: dict[str, Any]) -> str:
    held = [symbol for symbol, each in trained["instruments"].items() if each["confirmed"]]
    plan = trained["plan"]
    n = len(trained["instruments"])
    text = f"\nModels (`rooney train`, {plan['trials']} forests of {plan['trees']} trees per instrument): "
    lines = [f"{text}{len(held)} of {n} confirmed{': ' if held else ''}{', '.join(held)}.\n"]
    for symbol, each in trained["instruments"].items():
        lines.append(f"- {symbol}: {'confirmed' if each['confirmed'] else '; '.join(each['reasons'])}")
    return "\n".join(lines) + "\n"


def _said(confirmed: bool, reasons: list[str]) -> str:
    return "Confirmed." if confirmed else f"Not confirmed: {'; '.join(reasons)}."


if __name__ == "__main__":
    main()
