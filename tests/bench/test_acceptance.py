"""`python -m bench.acceptance`: it names what exists, and calls nothing shown that was not."""

import ast
import json
from pathlib import Path

import pytest

from bench.acceptance import validate
from bench.acceptance.criteria import CRITERIA, Criterion
from tests.support.paths import TESTS

EVERY = [each for criteria in CRITERIA.values() for each in criteria]
PASSED = validate.Case("test_a.py", "test_one", "passed", 0.5)
ROW = {"what": "publish → worker, p50", "measured": "1 ms", "target": "< 2 ms", "met": True}


def verdict(criterion: Criterion, *ran: validate.Case, rows: tuple[dict[str, object], ...] = ()) -> str:
    return validate.judge(criterion, ran, rows)[0]


@pytest.mark.parametrize("test", sorted({test for each in EVERY for test in each.tests}))
def test_every_test_a_criterion_names_exists(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((TESTS / file).read_text())
    assert not name or name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_line_of_the_benchmarks_a_criterion_names_is_in_the_table_or_among_the_long_ones() -> None:
    source = "".join(path.read_text() for path in (TESTS.parent / "bench").glob("bench_*.py"))
    table = (TESTS.parent / "docs" / "BENCHMARKS.md").read_text()
    for start in {row for each in EVERY for row in each.rows}:
        assert f"| {start}" in table or start.partition(" of")[0] in source, start


def test_every_criterion_is_shown_by_something_or_says_what_to_run_on_an_account() -> None:
    assert [each.text for each in EVERY if not (each.tests or each.rows or each.live)] == []


def test_a_criterion_whose_tests_passed_and_targets_were_met_is_shown() -> None:
    criterion = Criterion("x", ("test_a.py", "test_a.py::test_one"), ("publish → worker",))
    assert verdict(criterion, PASSED, rows=(ROW,)) == "shown"


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        ((PASSED, PASSED._replace(outcome="failed")), "FAILED"),
        ((PASSED._replace(outcome="skipped"),), "not run"),
        ((PASSED._replace(name="test_other"),), "not run"),
        ((PASSED._replace(file="test_b.py"),), "not run"),
        ((), "not run"),
    ],
)
def test_what_failed_or_did_not_run_is_not_shown(ran: tuple[validate.Case, ...], said: str) -> None:
    assert verdict(Criterion("x", ("test_a.py::test_one",)), *ran) == said


def test_a_target_that_was_missed_or_not_measured_is_not_shown() -> None:
    criterion = Criterion("x", (), ("publish → worker",))
    assert verdict(criterion, rows=(ROW | {"met": False},)) == "FAILED"
    assert verdict(criterion, rows=(ROW | {"what": "other"},)) == "not run"


def test_results_of_a_run_become_the_page_and_its_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [
        '<testcase classname="tests.test_a" name="test_one[x-1]" time="0.1"/>',
        '<testcase classname="tests.system.test_b" name="test_two@system" time="0.1"><failure/></testcase>',
    ]
    (tmp_path / "junit.xml").write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    (tmp_path / "bench.json").write_text(json.dumps({"benchmarks": [{"extra_info": {"rows": [ROW]}}]}))
    argv = ["--junit", str(tmp_path / "junit.xml"), "--bench", str(tmp_path / "bench.json")]
    argv += ["--write", str(tmp_path / "page.md")]
    good = {"One": (Criterion("good", ("test_a.py",), ("publish",)), Criterion("live", live="`rooney status`"))}
    monkeypatch.setattr(validate, "CRITERIA", good)
    assert validate.main(argv) == 0
    assert (
        "| good | shown | `test_a.py`: 1 passed<br>publish → worker, p50: **1 ms** (< 2 ms) |"
        in (tmp_path / "page.md").read_text()
    )
    monkeypatch.setattr(validate, "CRITERIA", good | {"Two": (Criterion("bad", ("system/test_b.py::test_two",)),)})
    assert validate.main(argv) == 1
    assert "2 tests; of 3 criteria 1 shown, 1 FAILED, 1 needs an account." in capsys.readouterr().out


def test_a_test_that_was_run_again_counts_as_it_ended_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["--bench", str(tmp_path / "bench.json"), "--json"]
    (tmp_path / "bench.json").write_text('{"benchmarks": []}')
    for name, inside in (("first", "<failure/>"), ("second", "")):
        case = f'<testcase classname="tests.test_a" name="test_one" time="0.1">{inside}</testcase>'
        (tmp_path / name).write_text(f"<testsuites><testsuite>{case}</testsuite></testsuites>")
    monkeypatch.setattr(validate, "CRITERIA", {"One": (Criterion("x", ("test_a.py",)),)})
    first, second = ("--junit", str(tmp_path / "first")), ("--junit", str(tmp_path / "second"))
    assert validate.main([*argv, *first, *second]) == 0
    assert validate.main([*argv, *second, *first]) == 1
