"""`rooney new NAME`: a strategy to begin with, its configuration block and its tests, all three working as they are."""

import keyword
import re
from pathlib import Path
from string import Template

from rooney.config.loader import Config, load_config
from rooney.errors import ConfigError
from rooney.files import read_text

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NOTHING = "nothing was written"
_SECTION = re.compile(r"^strategies:.*\n(?:(?:[ \t].*|#.*|)\n)*[ \t].*\n", re.MULTILINE)

STRATEGY = Template('''"""$title: one sentence that says what it trades and why that should earn money.

Write the rules here in words before you write them below: when it enters, when it exits, what is shared
configuration (stop, target, time stop) and which of the numbers are guesses.
"""

from typing import Any

from rooney.strategy import Feature, Param, Strategy


class $title(Strategy):
    timeframe = "hourly"  # the bars it decides on: 1min, hourly or daily
    params = {
        "rsi_bars": Param(14, 2, 500, "hours of the relative strength index"),
        "oversold": Param(30.0, 0.0, 50.0, "highest RSI that buys"),
        "overbought": Param(70.0, 50.0, 100.0, "lowest RSI that sells"),
        "stop_atr": Param(2.0, 0.0, 100.0, "stop, average true ranges from the entry; 0 none"),
        "time_stop_bars": Param(24, 0, 10_000, "exit after so many hourly bars; 0 never"),
    }
    features = {
        "rsi": Feature("rsi", "hourly", "rsi_bars"),
    }

    # Rules are compiled: f, p and t hold numbers by name. A comparison with a feature that has no value yet is False.

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        return f.rsi <= p.oversold

    @staticmethod
    def should_enter_short(f: Any, p: Any) -> bool:
        return f.rsi >= p.overbought

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        return (t.side > 0 and f.rsi >= 50.0) or (t.side < 0 and f.rsi <= 50.0)
''')

BLOCK = Template("""\
  $name:
    enabled: true
    mode: paper                       # dry: decides and sends nothing
    broker_account: $${TRADERSPOST_${upper}_WEBHOOK}
    starting_cash: 150000
    max_positions: 2
    daily_stop_loss: 2500
    on_missing_model: trade           # until it has models; then refuse
    instruments: [$roots]
    strategy_params:
      rsi_bars: 14
""")

TESTS = Template('''"""The rules of strategies/$name.py, one claim each."""

from types import SimpleNamespace
from typing import Any

from rooney.strategy import load

$title = load("$name")
DEFAULTS = SimpleNamespace(**{name: param.default for name, param in $title.declared().items()})


def features(**values: float) -> Any:
    """View of an instrument at a bar that the rules are shown."""
    return SimpleNamespace(**values)


def trade(side: int) -> Any:
    """An open trade: 1 long, -1 short."""
    return SimpleNamespace(side=side, entry_price=100.0, bars_held=1, best=100.0)


def test_it_buys_what_is_oversold() -> None:
    assert $title.should_enter_long(features(rsi=29.0), DEFAULTS)
    assert not $title.should_enter_long(features(rsi=31.0), DEFAULTS)


def test_it_sells_what_is_overbought() -> None:
    assert $title.should_enter_short(features(rsi=71.0), DEFAULTS)
    assert not $title.should_enter_short(features(rsi=69.0), DEFAULTS)


def test_it_leaves_in_the_middle() -> None:
    assert $title.should_exit(features(rsi=50.0), DEFAULTS, trade(1))
    assert $title.should_exit(features(rsi=50.0), DEFAULTS, trade(-1))
    assert not $title.should_exit(features(rsi=45.0), DEFAULTS, trade(1))
''')


def write_new(name: str, config: Config, strategies: Path, tests: Path | None) -> list[Path]:
    """Write the strategy file, its tests if there is a folder for them, and its block; returns what was written.

    Nothing that exists is overwritten. Raises ConfigError.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(f"{name!r}: expected a name of a-z, 0-9 and _ that begins with a letter; {_NOTHING}")
    if name in config.names:
        raise ConfigError(f"strategies.{name}: is already in {config.path}; {_NOTHING}")
    roots = [root for root, each in config.instruments().items() if not each.reference][:2]
    words = {
        "name": name,
        "title": "".join(part.capitalize() for part in name.split("_")),
        "upper": name.upper(),
        "roots": ", ".join(roots),
    }
    new = {strategies / f"{name}.py": STRATEGY.substitute(words)}
    if tests is not None:
        new[tests / f"test_strategy_{name}.py"] = TESTS.substitute(words)
    for path in new:
        if path.exists():
            raise ConfigError(f"{path}: is already there; {_NOTHING}")
    text = read_text(config.path, then=_NOTHING)
    section = _SECTION.search(text)
    if section is None:
        raise ConfigError(f"{config.path}: has no line that begins with strategies: and blocks below it; {_NOTHING}")
    changed = f"{text[: section.end()]}\n{BLOCK.substitute(words)}{text[section.end() :]}"
    _check(config.path, changed, name)
    try:
        for path, content in (*new.items(), (config.path, changed)):
            path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}; what comes from here on is not written") from error
    return [*new, config.path]


def _check(path: Path, text: str, name: str) -> None:
    """Raises ConfigError unless the changed file loads and has the new block."""
    unfinished = path.with_name(f".{path.name}.new")
    try:
        unfinished.write_text(text, encoding="utf-8")
        load_config(unfinished).strategy(name)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; {_NOTHING}") from error
    finally:
        unfinished.unlink(missing_ok=True)
