"""Digests of code: moves, names, docstrings and unused kernels change none, an operator does."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rooney.features.kernel_registry import KERNELS
from rooney.strategy import digest
from rooney.strategy.compiler import compile_strategy
from rooney.strategy.digest import EARLIER, Tree, code_digests, other_code, tree
from tests.support.digests import table
from tests.support.engines import SCRIPTED
from tests.support.paths import ROOT

USED = ("ema", "atr")
STATISTICS, TREND = "rooney/kernels/indicators/statistics.py", "rooney/kernels/indicators/trend.py"
RULES = '''"""A strategy."""

from rooney.strategy import Feature, Strategy

LEVEL = 0.2


class Own(Strategy):
    features = {"ibs": Feature("ibs")}

    @staticmethod
    def should_enter_long(f, p):
        return f.ibs < LEVEL
'''


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """A copy of the kernels to change."""
    shutil.copytree(ROOT / "rooney/kernels", tmp_path / "rooney/kernels")
    return tmp_path


def edit(root: Path, file: str, *changes: tuple[str, str]) -> None:
    path = root / file
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)


def before() -> str:
    return tree().kernels(USED)


def test_the_table_says_which_code_of_commit_f209ce1_this_is() -> None:
    command = "python -m tests.support.digests"
    assert table() == EARLIER, (
        f"the code's digests have changed: if golden digests hold (pytest tests/research/backtest/test_lookahead.py), "
        f"put into EARLIER of rooney/strategy/digest.py what `{command}` prints; if not, take the lines out"
    )


def test_every_name_that_a_kernel_uses_is_known() -> None:
    assert tree().kernels(KERNELS) == Tree().kernels(KERNELS)


def test_a_kernel_that_moves_to_another_module_keeps_the_digest(kernels: Path) -> None:
    text = (kernels / "rooney/kernels/exits.py").read_text()
    (kernels / "rooney/kernels/ways_out.py").write_text(text)
    (kernels / "rooney/kernels/exits.py").unlink()
    for path in (kernels / "rooney/kernels").glob("*.py"):
        path.write_text(path.read_text().replace("exits", "ways_out"))
    assert Tree(kernels).kernels(USED) == before()


def test_a_function_that_a_kernel_calls_may_move_to_another_module(kernels: Path) -> None:
    text = (kernels / STATISTICS).read_text()
    begin = text.index("@njit(cache=True)\ndef wilder(")
    end = text.index("@njit", begin + 1)
    moved = "from rooney.kernels.jit import njit\n\n\n" + text[begin:end]
    (kernels / "rooney/kernels/indicators/averages.py").write_text(moved)
    left = text[:begin] + text[end:]
    imports = "from rooney.kernels.indicators.averages import wilder\nfrom rooney.kernels.jit import njit\n"
    (kernels / STATISTICS).write_text(left.replace("from rooney.kernels.jit import njit\n", imports))
    assert Tree(kernels).kernels(USED) == before()


def test_a_new_kernel_that_nothing_uses_keeps_the_digest(kernels: Path) -> None:
    path = kernels / STATISTICS
    path.write_text(path.read_text() + "\n\n@njit\ndef brand_new(s, n, x):\n    return x + 1.0\n")
    assert Tree(kernels).kernels(USED) == before()


def test_docstrings_comments_and_annotations_keep_the_digest(kernels: Path) -> None:
    edit(
        kernels,
        STATISTICS,
        ("Wilder's average one", "The average one"),
        ("    seen = int(", "    # why\n    seen = int("),
    )
    edit(kernels, STATISTICS, ("def wilder(average: float, x: float, n: int) -> float:", "def wilder(average, x, n):"))
    edit(kernels, "rooney/kernels/step.py", ('"""The step', '"""This step'))
    assert Tree(kernels).kernels(USED) == before()


def test_an_operator_in_a_function_that_a_used_kernel_calls_changes_the_digest(kernels: Path) -> None:
    text = (kernels / STATISTICS).read_text()
    body = text[text.index("def wilder(") : text.index("@njit", text.index("def wilder("))]
    assert "+" in body
    (kernels / STATISTICS).write_text(text.replace(body, body.replace("+", "-")))
    assert Tree(kernels).kernels(USED) != before()


def test_an_operator_in_the_step_or_what_it_calls_changes_every_digest(kernels: Path) -> None:
    edit(kernels, "rooney/kernels/exits.py", ("stop_percent > 0.0", "stop_percent >= 0.0"))
    assert Tree(kernels).kernels(USED) != before()


def test_an_operator_in_an_unused_kernel_keeps_the_digest(kernels: Path) -> None:
    edit(kernels, TREND, ("up + down > 0.0", "up + down >= 0.0"))
    assert Tree(kernels).kernels(USED) == before()
    assert Tree(kernels).kernels(("adx",)) != tree().kernels(("adx",))


def test_a_field_of_the_state_changes_every_digest(kernels: Path) -> None:
    edit(kernels, "rooney/kernels/dtypes.py", ('("bars_held", _I),', '("bars_held", _I),\n    ("new", _I),'))
    assert Tree(kernels).step() != tree().step()


def test_an_option_of_the_compiler_changes_every_digest(kernels: Path) -> None:
    edit(kernels, "rooney/kernels/jit.py", ('error_model="numpy", _nrt=False', 'error_model="python", _nrt=False'))
    assert Tree(kernels).step() != tree().step()


def test_a_changed_kernel_gives_another_step(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so another name of its module, which is what machine code is found by, compiled ahead of time or cached."""
    known = compile_strategy(SCRIPTED, {})
    edit(kernels, "rooney/kernels/exits.py", ("stop_percent > 0.0", "stop_percent >= 0.0"))
    monkeypatch.setattr(digest, "tree", lambda: Tree(kernels))
    changed = compile_strategy(SCRIPTED, {})
    assert changed.module.__name__ != known.module.__name__
    assert changed.digest != known.digest


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        ('"""A strategy."""', '"""Another docstring."""', True),
        ("LEVEL = 0.2", "LEVEL = 0.2  # a comment", True),
        ("import Feature, Strategy", "import Feature\nfrom rooney.strategy.base import Strategy", True),
        ("f.ibs < LEVEL", "f.ibs <= LEVEL", False),
        ("LEVEL = 0.2", "LEVEL = 0.3", False),
        ('Feature("ibs")', 'Feature("ibs", "daily")', False),
    ],
)
def test_of_a_strategys_file_the_syntax_counts(old: str, new: str, *, is_same: bool) -> None:
    assert old in RULES
    assert (tree().text(RULES.replace(old, new)) == tree().text(RULES)) is is_same


def test_what_an_import_brings_counts_where_it_is_used() -> None:
    floor = "from math import floor as whole\n\nX = whole(0.5)\n"
    assert tree().text(floor) != tree().text(floor.replace("import floor", "import ceil"))


def test_a_kernel_that_a_rule_calls_counts_with_what_it_calls(kernels: Path) -> None:
    text = "from rooney.kernels.indicators.trend import directional\n\nX = directional(1.0, 2.0, 3.0)\n"
    known = tree().text(text)
    assert Tree(kernels).text(text) == known
    edit(kernels, TREND, ("up + down > 0.0", "up + down >= 0.0"))
    assert Tree(kernels).text(text) != known


def test_digests_of_text_are_known_as_what_they_were() -> None:
    """A strategy's file that nobody touched since f209ce1 has the text it had; of kernels the table knows."""
    texts = digest.sha256(Path(SCRIPTED).read_text())
    now = code_digests(SCRIPTED, ("weekday",))
    assert other_code({**now, "kernels": next(iter(EARLIER)), "strategy": texts}, SCRIPTED, ("weekday",)) == {}
    assert set(other_code(dict.fromkeys(now, "0" * 64), SCRIPTED, ("weekday",))) == set(now)


def test_digests_need_no_numba_and_few_milliseconds() -> None:
    code = (
        "import sys, time\n"
        "from rooney.strategy.digest import code_digests\n"
        "from rooney.strategy.loader import load\n"
        "load('ibs')\n"
        "began = time.process_time()\n"
        "code_digests('ibs', ('ibs', 'weekday'))\n"
        "print(int((time.process_time() - began) * 1000), 'numba' in sys.modules)\n"
    )
    environment = {"ROONEY_COMPILED_DIRECTORY": "/nowhere", "PATH": ""}
    told = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=True)
        milliseconds, has_numba = done.stdout.split()
        told.append(int(milliseconds))
        assert has_numba == b"False"
    assert min(told) < 60  # 20 on a machine at rest
