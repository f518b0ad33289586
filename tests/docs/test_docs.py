"""The documents: what they link to and name exists, and every command in them is one that there is.

That the commands do what is said is tried elsewhere: docs/OPERATING.md in docs/test_operating.py, docs/INSTALL.md in
system/, docs/ADDING_NEW_STRATEGY.md in research/test_new_strategy.py, docs/CONFIG_MIGRATION.md in
ops/test_migrate_config.py, docs/DAY_ONE.md in docs/test_day_one.py.
"""

import importlib.util
import re
import shlex
import tomllib
import xml.etree.ElementTree as ElementTree

import click
import pytest

from bench.picture import svg
from rooney.cli import cli
from tests.support.paths import ROOT, TESTS

DOCS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "research/README.md",
    ROOT / "bench/README.md",
]
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCS}
TOP = ("rooney", "strategies", "research", "systemd", "bench", "tests", "docs", ".ci")
OURS = re.compile(rf"(?:{'|'.join(re.escape(name) for name in TOP)})/[\w./@-]*|config\.multi_alpha\.yml|\.env\.example")


def spans(text: str) -> list[str]:
    """Everything set as code: blocks line by line, and what stands between backticks."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += [line.strip() for line in re.findall(r"^    (?:rooney|python|uv) .*", text, re.MULTILINE)]
    inline = re.findall(
        r"`([^`\n]+(?:\n[^`\n]+)?)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    return lines + [" ".join(span.split()) for span in inline]


def commands(name: str) -> list[str]:
    """What a document says to type that begins with rooney."""
    found = [re.sub(r"^uv run --all-extras ", "", span) for span in spans(TEXTS[name])]
    return [re.sub(r"\s+#\s.*", "", span) for span in found if re.match(r"rooney [a-z]", span)]


def elsewhere(name: str) -> str:
    """A document without the column that names the roadmap's own files."""
    text = TEXTS[name]
    return re.sub(r"^\| .*? \| ", "| ", text, flags=re.MULTILINE) if name == "docs/SEED_MAP.md" else text


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_within_the_project_leads_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", TEXTS[name]):
        if "://" not in link:
            assert ((ROOT / name).parent / link).exists(), link


@pytest.mark.parametrize("name", TEXTS)
def test_every_file_of_the_project_that_is_named_exists(name: str) -> None:
    folders = (ROOT, TESTS) if name == "docs/VALIDATION.md" else (ROOT,)  # its tests are named from their folder
    for span in spans(elsewhere(name)):
        for path in [span, *span.split(", ")]:
            if OURS.fullmatch(path) and not path.startswith("tests/test_strategy_") and "rsi_swing" not in path:
                assert any((folder / path).exists() for folder in folders), path


@pytest.mark.parametrize(("name", "command"), [(name, each) for name in TEXTS for each in commands(name)])
def test_every_command_is_one_that_there_is(name: str, command: str) -> None:
    """Verb, options and the number of arguments; `…` stands for what is left out."""
    words = shlex.split(command.replace("[", "").replace("]", ""))[1:]
    verb: click.Command = cli
    context = click.Context(cli, info_name="rooney")
    while isinstance(verb, click.Group) and words and not words[0].startswith("-"):
        found = verb.get_command(context, words.pop(0))
        assert found is not None, f"no such verb: {command}"
        verb = found
        context = click.Context(verb, parent=context, **verb.context_settings)
    if isinstance(verb, click.Group):
        assert words in ([], ["--help"]), command
        return
    values, rest, _ = verb.make_parser(context).parse_args(list(words))
    assert [word for word in rest if word != "…"] == [], f"too many words: {command}"
    optioned = any(word.startswith("--") for word in words)  # otherwise it is only named in passing
    for param in verb.params if words and "…" not in rest else []:
        if param.required and (optioned or isinstance(param, click.Argument)):
            assert values.get(str(param.name)), f"{param.name} is missing: {command}"


@pytest.mark.parametrize("name", TEXTS)
def test_every_module_that_is_run_exists(name: str) -> None:
    for module in re.findall(r"python3? -m ((?:rooney|research|bench)[\w.]*)", TEXTS[name]):
        assert importlib.util.find_spec(module) is not None, module


@pytest.mark.parametrize("name", TEXTS)
def test_every_unit_that_is_named_is_shipped(name: str) -> None:
    units = {path.name for path in (ROOT / "systemd").iterdir()}
    kinds = (".service", ".target", ".timer", ".socket", ".slice")
    for span in spans(elsewhere(name)):
        for unit in (
            re.findall(r"\brooney[-.](?!log\b)[\w.@-]+", span)
            if span.startswith(("systemctl", "journalctl -u"))
            else []
        ):
            plain = re.sub(r"@[\w.-]*", "@", unit) if "@" in unit else unit
            assert any(plain in (each, each.removesuffix(kind)) for each in units for kind in kinds), unit


@pytest.mark.parametrize("verb", sorted(cli.list_commands(click.Context(cli))))
def test_every_verb_is_in_some_document(verb: str) -> None:
    inside = ("hub", "worker", "alert", "watch", "install", "uninstall")  # what units start, and the installer's
    text = "\n".join(TEXTS.values())
    assert verb in inside or re.search(rf"rooney {verb}\b", text), verb


def test_every_document_is_reached_from_the_readme() -> None:
    reached, todo = set[str](), ["README.md"]
    while todo:
        name = todo.pop()
        reached.add(name)
        for link in re.findall(r"\]\(([^)#\s]+\.md)", TEXTS[name]):
            path = str(((ROOT / name).parent / link).resolve().relative_to(ROOT))
            todo += [path] if path in TEXTS and path not in reached else []
    assert reached == set(TEXTS)


def test_what_the_troubleshooting_page_quotes_is_said_by_the_code() -> None:
    said = "\n".join(path.read_text() for kind in ("py", "js", "html") for path in (ROOT / "rooney").rglob(f"*.{kind}"))
    rows = re.findall(r"^\| (.*?) \|", TEXTS["docs/TROUBLESHOOTING.md"], re.MULTILINE)
    quoted = [span for row in rows for span in re.findall(r"`([^`]+)`", row) if not span.startswith("rooney ")]
    assert len(quoted) > 20
    for words in (words for span in quoted for words in re.split(r"\s*…\s*", span) if words):
        assert words in said, words


def test_a_screen_becomes_a_drawing_that_says_the_same() -> None:
    screen = "strategy  mode\na <b> & c   paper\n"
    drawn = ElementTree.fromstring(svg(screen, "rooney status"))
    lines = [(text.text or "").replace("\u00a0", " ") for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert lines == ["$ rooney status", "strategy  mode", "a <b> & c   paper"]


def test_the_picture_of_the_status_has_the_columns_it_has_now() -> None:
    shown = (ROOT / "docs" / "status.svg").read_text().replace("\u00a0", " ")
    header = re.search(r">(strategy .*?)<", shown)
    source = (ROOT / "rooney" / "ops" / "status.py").read_text()
    assert header is not None
    for column in re.split(r"  +", header[1]):
        assert f'"{column}"' in source, column


def test_the_packages_of_the_architecture_page_are_the_layers_of_the_contract() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", TEXTS["docs/MULTI_ALPHA_ARCHITECTURE.md"], re.MULTILINE)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["rooney"])
    assert [re.findall(r"\w+", row) for row in rows] == [re.findall(r"\w+", layer) for layer in layers]


def test_journal_lines_are_matched_by_their_unit_since_a_strategy_can_forge_the_rest() -> None:
    found = [span for text in TEXTS.values() for span in spans(text) if span.startswith("journalctl ")]
    assert len(found) > 10
    assert [span for span in found if not re.search(r" -u \S|_SYSTEMD_UNIT=", span)] == []
