"""docs/API.md: the public face, written from the docstrings it names.

python -m docs.api_page    write docs/API.md; a test holds it up to date
"""

import inspect
import re
import textwrap
import typing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rooney import features, strategy
from rooney.orders.decisions import Trade
from rooney.orders.intents import Intent
from rooney.strategy.base import SHARED_PARAMS

PAGE = Path(__file__).with_name("API.md")
HEAD = """\
# The public face

Written by `python -m docs.api_page` from the docstrings; not by hand. What is on this page changes only with a line in
[CHANGELOG.md](CHANGELOG.md) one version before. So do the verbs and exit statuses of `rooney`
([OPERATING.md](OPERATING.md)), the keys of `config.multi_alpha.yml`, and the names on Redis
([MULTI_ALPHA_ARCHITECTURE.md](MULTI_ALPHA_ARCHITECTURE.md#names-on-redis)).
**Everything else may change without notice.**
"""
RULES = """\
`f` holds the features by name, `p` the parameters (the shared ones included), both as numbers; `t` is the open trade:
`side` (1 long, -1 short), `entry_price` and `best` (the best close since the entry) in points, `bars_held` in bars of
the strategy's timeframe. Entries are asked only when every feature has a value; exits always, and a comparison with
NaN is False. Rules are compiled by numba. A file that cannot be used raises `StrategyError` when it is loaded, with
the line and the names it could have used.
"""
ARRAYS = """\
Columns are one-dimensional, equally long, oldest bar first: numpy arrays or anything numpy can read. What comes out is
float64 of the same length, NaN where there are not enough bars yet, and to the last bit what the step that trades
computes. Columns of another shape and lengths that cannot be raise `ValueError`. Formulas and their sources: *Kernels*.
"""
KERNELS = """\
`Feature(kernel, …)` takes one of these. What it reads: `bar`, open to volume of its timeframe's bars; `time`, the bar's
start on the exchange's clock; `series` and `two`, one or two other features (`of=`). `n` is the feature's `length`.
What is a price moves with the contract on a roll. `old system` is the one that this replaces.
"""
NAMES = """\
`catalogue("atrz_pct")` and models know these; `NAME_v1` is the old system's number of that name. Further, of other
instruments, `ROOT_{hourly|daily}_{return|z_score|z_pipeline}`. Units: `_pct` of a price change and returns are in
percent; other `_pct` are ranks in (0, 1], ATR percentiles in [0, 100); codes are small whole numbers (1 yes, 2 no).
"""
# Files of a backtest: name, type and meaning of each column; a test compares with what is written.
FILES: dict[str, dict[str, tuple[str, str]]] = {
    "trades.parquet": {
        "symbol": ("String", "root of the instrument"),
        "contract": ("String", "raw symbol, `ESH6`; the root where bars have none"),
        "side": ("Int64", "1 long, -1 short"),
        "quantity": ("Int64", "contracts"),
        "entry_ts": ("Datetime[ns, UTC]", "assumed fill"),
        "entry_price": ("Float64", "points, after slippage"),
        "exit_ts": ("Datetime[ns, UTC]", "assumed fill"),
        "exit_price": ("Float64", "points, after slippage"),
        "exit_reason": ("String", "`rule`, `stop`, `target`, `time_stop` …"),
        "pnl_usd": ("Float64", "net of costs"),
        "costs_usd": ("Float64", "commission"),
        "bars_held": ("Int64", "bars of the strategy's timeframe"),
        "ml_score": ("Float64", "of the veto; NaN where none was asked"),
    },
    "equity.parquet": {
        "ts": ("Datetime[ns, UTC]", "end of each hour in session, of each session and of the run"),
        "equity_usd": ("Float64", "open positions marked to the last close"),
        "drawdown_usd": ("Float64", "below the highest so far; not negative"),
    },
    "decisions.parquet": {
        "ts_mark": ("Int64", "end of the deciding minute, UTC ns; with `--decisions` only"),
        "symbol": ("String", "root of the instrument"),
        "reason": ("String", "`enter_long`, `no_signal`, `filtered` …"),
        "features": ("String", "JSON, values by name"),
        "score": ("Float64", "of the veto; null where none was asked"),
    },
}
SUMMARY = {
    "strategy": "name of the block",
    "file": "path of the strategy's file",
    "profile": "`default`, or `v1`: the old system",
    "measures": "net, open and total P&L, trades, Sharpe ratio and so on; null where a measure does not exist",
    "per_instrument": "list: trades, P&L in USD and measures of each",
    "per_year": "list: P&L in USD, Sharpe ratio, drawdown by session hours",
    "per_month": "list: P&L in USD",
    "parameters": "every parameter with its value",
    "overrides": "by instrument, what differs",
    "filters": "entry filters in force, by name",
    "instruments": "roots traded",
    "timeframe": "of the bars it decides on",
    "max_positions": "slots",
    "thresholds": "by instrument, of its model",
    "open_positions": "list: positions open at the end, with their last price",
    "without_bars": "roots the data does not have",
    "days_without_bars": "trade dates without any bar, which no measure counts",
    "closes_only": "whether high and low of the data are its closes",
    "findings": "rows of the data that were left out, by file and kind",
    "fills": "how entries, exits and stops were assumed filled",
    "span": "first and last instant, ISO, UTC",
    "warm_up_from": "first instant of the bars that warmed it up, as the data says; null where it says nothing",
    "bars": "bars read",
    "marks": "minutes stepped",
    "decisions": "one per instrument and completed bar",
    "decision_digest": "of every decision: equal runs have equal ones",
    "data_sha256": "of the bars",
    "load_s": "seconds spent reading",
    "engine_s": "seconds spent stepping",
}


def type_name(annotation: Any) -> str:
    """An annotation as it is written in the source; the same for every version of numpy."""
    if annotation == ArrayLike:
        return "ArrayLike"
    if annotation == NDArray[np.float64]:
        return "NDArray[float64]"
    if typing.get_origin(annotation) is tuple:
        return f"tuple[{', '.join('...' if each is ... else type_name(each) for each in typing.get_args(annotation))}]"
    told = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:rooney|typing)\.(?:\w+\.)*|ForwardRef\('(\w+)'\)", r"\1", told)


def entry(item: Any, name: str = "") -> str:
    """Signature and docstring of a class or function, as a block of text."""
    signature = inspect.signature(item)
    takes = [
        (
            parameter.name
            if parameter.annotation is parameter.empty
            else f"{parameter.name}: {type_name(parameter.annotation)}"
        )
        + ("" if parameter.default is parameter.empty else f" = {parameter.default!r}")
        for parameter in signature.parameters.values()
    ]
    head = f"({', '.join(takes)})" if len(takes) < 4 else "(\n" + "".join(f"    {each},\n" for each in takes) + ")"
    gives = (
        ""
        if signature.return_annotation in (signature.empty, None)
        else f" -> {type_name(signature.return_annotation)}"
    )
    documented = textwrap.indent(inspect.getdoc(item) or "", "    ")
    return f"```text\n{name or item.__name__}{head}{gives}\n\n{documented}\n```\n"


def written(feature: features.Feature, timeframe: str = "") -> str:
    """A feature in one line: kernel(inputs, length)@timeframe@symbol, without what goes without saying."""
    told = [written(of, feature.timeframe) for of in feature.of]
    told += [f"{feature.length!r}"] if feature.length != 1 else []
    where = [feature.timeframe] if feature.timeframe != timeframe else []
    where += [feature.symbol] if feature.symbol else []
    return feature.kernel + (f"({', '.join(told)})" if told else "") + "".join(f"@{each}" for each in where)


def table(*rows: tuple[str, ...]) -> str:
    """Markdown table; the first row heads it."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def page() -> str:
    """Text of the whole page."""
    base = strategy.Strategy
    rules = [base.should_enter_long, base.should_enter_short, base.should_exit, base.on_order, base.on_trade]
    shared = [(f"`{name}`", f"{each.default:g}", each.help) for name, each in SHARED_PARAMS.items()]
    kernels = [
        (f"`{name}`", kernel.inputs, f"{kernel.formula or 'the value itself'}", kernel.source)
        for name, kernel in sorted(features.KERNELS.items())
    ]
    named = [(f"`{name}`", f"`{written(features.catalogue(name), 'hourly')}`") for name in features.names()]
    arrays = [getattr(features, name) for name in features.__all__ if name.startswith("calculate")]
    parts = [
        HEAD,
        "## Strategies: `rooney.strategy`\n",
        "An example: [examples/weak_close.py](examples/weak_close.py); the way to an account: "
        "[ADDING_NEW_STRATEGY.md](ADDING_NEW_STRATEGY.md).\n",
        *(entry(item) for item in (base, strategy.Param, strategy.Feature, strategy.Filter)),
        "### Rules and hooks\n",
        RULES,
        *(entry(rule, f"Strategy.{rule.__name__}") for rule in rules),
        "What the hooks are given:\n",
        *(entry(item) for item in (Intent, Trade)),
        "### Parameters that every strategy has\n",
        table(("name", "default", "what"), *shared),
        "## Features over arrays: `rooney.features`\n",
        ARRAYS,
        *(entry(function) for function in [*arrays, features.catalogue, features.names]),
        "### Kernels\n",
        KERNELS,
        table(("kernel", "reads", "value", "source"), *kernels),
        "### Features by name\n",
        NAMES,
        table(("name", "made of (of the instrument's hourly bars, unless it says otherwise)"), *named),
        "## Files of a backtest\n",
        *(
            f"### {name}\n\n" + table(("column", "type", "what"), *((f"`{c}`", *told) for c, told in columns.items()))
            for name, columns in FILES.items()
        ),
        "### summary.json\n",
        table(("key", "what"), *((f"`{key}`", told) for key, told in SUMMARY.items())),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
