"""YAML that is larger, deeper or longer than any file of ours: one error, within a second, in whatever reads YAML."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rooney.config.loader import load_config
from rooney.config.validation import Reader, Scalar, override
from rooney.errors import EXIT_CONFIG, ConfigError
from rooney.ops.migrate_config import read_old
from tests.support.paths import CONFIG, ROOT

LETTERS = "abcdefghi"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n" for before, after in itertools.pairwise(LETTERS)
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{after}: &{after} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n" for before, after in itertools.pairwise(LETTERS)
)
HOSTILE = {
    "aliases of aliases": LAUGHS,
    "merges of merges": MERGED,
    "an alias of itself": "a: &a [*a]",
    "brackets": "a: " + "[" * 5_000,
    "braces": "{a: " * 5_000,
    "dashes": "- " * 60_000,
    "a large file": "a: 1\n#" + "x" * 200_000,
    "many values": "a: [" + "1," * 60_000 + "]",
    "a number without end": "a: " + "59:" * 20_000 + "59",
    "a fraction beyond any number": "a: " + "59:" * 400 + "59.5",
    "a number that is none": "a: !!int ''",
    "a date that is none": "a: 2024-99-99",
}


def _variable(path: Path) -> object:
    return Reader({"X": path.read_text()}).read("key", "${X}", Scalar)


READERS: dict[str, Callable[[Path], object]] = {
    "configuration": load_config,
    "old configuration": read_old,
    "--set": lambda path: override({}, f"data_hub.redis_host={path.read_text()}", ()),
    "variable": _variable,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", HOSTILE)
def test_what_no_file_of_ours_holds_is_refused_within_a_second(text: str, reader: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yml"
    path.write_text(HOSTILE[text])
    began_s = time.thread_time()
    with pytest.raises(ConfigError) as error:
        READERS[reader](path)
    assert time.thread_time() - began_s < 3.0
    assert len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 400


@pytest.mark.parametrize("text", ["aliases of aliases", "brackets"])
def test_a_verb_ends_with_78_and_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(CONFIG.read_text() + HOSTILE[text])
    argv = [sys.executable, "-m", "rooney", "check", "--config", str(path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (EXIT_CONFIG, 1), done.stderr
