"""The command line as a whole: what its help lists, the options verbs share, shells' completion."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rooney.cli import SECTIONS, cli
from tests.support.paths import ROOT

CONTEXT = click.Context(cli, info_name="rooney")


def leaves(verb: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a verb with its whole name."""
    if isinstance(verb, click.Group):
        for sub in verb.list_commands(CONTEXT):
            command = verb.get_command(CONTEXT, sub)
            assert command is not None
            yield from leaves(command, f"{name} {sub}".strip())
    else:
        yield name, verb


COMMANDS = dict(leaves(cli, ""))
# Verbs that print no result: what they run logs, installs or draws.
TELLS_NO_RESULT = (
    "top",
    "hub",
    "worker",
    "dashboard",
    "alert-sender",
    "alert",
    "new",
    "completion",
    "install",
    "rollback",
    "uninstall",
    "credentials set",
    "credentials rotate",
    "credentials encrypt",
    "credentials remove",
)


def options(command: click.Command) -> dict[str, click.Option]:
    """Options that the help shows, by their names."""
    shown = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    return {name: param for param in shown for name in param.opts}


def test_the_help_lists_every_verb_of_every_module_once() -> None:
    listed = [(module, verb) for verbs in SECTIONS.values() for verb, (module, _) in verbs.items()]
    modules = {module for module, _ in listed}
    there = [(module, verb.name) for module in modules for verb in import_module(f"rooney.cli.{module}").VERBS]
    assert sorted(listed) == sorted(there)


def test_the_help_has_a_whole_line_for_each_verb() -> None:
    lines = CliRunner().invoke(cli, ["--help"], prog_name="rooney").output.splitlines()
    verbs = [verb for of_section in SECTIONS.values() for verb in of_section]
    assert [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in verbs] == verbs
    assert all(len(line) <= 80 and "..." not in line.partition("ARGS")[0] for line in lines[2:])


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in TELLS_NO_RESULT])
def test_a_verb_that_prints_a_result_prints_it_as_json_too(name: str) -> None:
    assert "--json" in options(COMMANDS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_thing_has_the_same_name_everywhere(name: str) -> None:
    shown = options(COMMANDS[name])
    assert "--state" not in shown
    assert "--to" not in shown or name == "promote"  # there it is the name of a bundle, not a place
    if "--config" in shown:
        assert {"--set", "--env-file"} <= set(shown)


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("report", "--state"),
        ("worker", "--state"),
        ("data import", "--to"),
        ("data download", "--to"),
        ("models import", "--to"),
    ],
)
def test_a_name_of_earlier_versions_still_works(name: str, old: str) -> None:
    (param,) = [each for each in COMMANDS[name].params if old in each.opts]
    assert isinstance(param, click.Option) and param.hidden


@pytest.mark.parametrize("unit", sorted((ROOT / "systemd").glob("*.service")), ids=lambda unit: unit.name)
def test_a_unit_starts_a_verb_by_options_that_help_shows(unit: Path) -> None:
    for words in re.findall(r"^ExecStart=/opt/rooney/current/bin/rooney (.+)$", unit.read_text(), re.MULTILINE):
        verb, *arguments = words.split()
        assert {word for word in arguments if word.startswith("--")} <= set(options(COMMANDS[verb]))


def test_features_are_listed_as_json() -> None:
    told = json.loads(CliRunner().invoke(cli, ["features", "--json"]).output)
    assert told["exit"] == 0
    assert set(told["kernels"][0]) == {"name", "inputs", "formula", "source"}


def test_enabled_strategies_are_listed() -> None:
    said = CliRunner().invoke(cli, ["config", "strategies", "--config", "config.multi_alpha.yml"]).output
    assert said.split() == ["ibs", "breakout"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_the_script_that_completes_verbs(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0
    assert "_ROONEY_COMPLETE" in done.output


def test_the_modules_of_all_verbs_load_nothing_heavy() -> None:
    modules = sorted({module for verbs in SECTIONS.values() for module, _ in verbs.values()})
    code = f"import sys, {', '.join(f'rooney.cli.{module}' for module in modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numba", "numpy", "redis", "requests", "databento", "polars", "sqlite3"}
    assert heavy.isdisjoint(done.stdout.split())
