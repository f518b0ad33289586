"""docs/VALIDATION.md: every criterion of the roadmap, what shows it, and what it showed on this machine.

python -m bench.acceptance --write docs/VALIDATION.md   run every test and benchmark the criteria name, write the page
python -m bench.acceptance --junit FILE --bench FILE    read results of runs just made instead: of
                                                        `pytest --junitxml FILE`, `pytest bench --benchmark-only
                                                        --benchmark-json FILE`; of several --junit the last that
                                                        ran a test counts
python -m bench.acceptance --json                       the same as JSON
python -m bench.acceptance --slow                       the long proofs too

A criterion is shown only if every test it names ran and passed and every target it names was met. A skipped test shows
nothing. Exit status: 0 all shown, or waiting for a real account; 1 something failed, was missed or did not run.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bench.acceptance.criteria import CRITERIA, Criterion

ROOT = Path(__file__).parents[2]
Outcome = Literal["passed", "failed", "skipped"]
Verdict = Literal["shown", "FAILED", "not run", "needs an account"]


class Case(NamedTuple):
    """One test as it ended. what: its file below tests/ and its name without parameters."""

    file: str
    name: str
    outcome: Outcome
    took_s: float


class Found(NamedTuple):
    """What one criterion came to."""

    section: str
    criterion: Criterion
    verdict: Verdict
    measured: tuple[str, ...]


def cases(text: str) -> list[Case]:
    """Every test of a junit file."""
    found = []
    for case in ElementTree.fromstring(text).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome: Outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        file = case.get("classname", "").removeprefix("tests.").replace(".", "/") + ".py"
        name = case.get("name", "").partition("[")[0].partition("@")[0]  # a group of pytest-xdist's comes after an @
        found.append(Case(file, name, outcome, float(case.get("time", 0))))
    return found


def judge(criterion: Criterion, ran: Sequence[Case], rows: Sequence[dict[str, Any]]) -> tuple[Verdict, tuple[str, ...]]:
    """What the results say of one criterion, and the measured values."""
    measured, bad, missing = [], False, False
    for test in criterion.tests:
        file, _, name = test.partition("::")
        mine = [case for case in ran if case.file == file and name in ("", case.name)]
        failed = [case for case in mine if case.outcome == "failed"]
        passed = [case for case in mine if case.outcome == "passed"]
        bad, missing = bad or bool(failed), missing or not passed
        said = f"{len(failed)} failed" if failed else f"{len(passed)} passed" if passed else "not run"
        skipped = sum(case.outcome == "skipped" for case in mine)
        measured.append(f"`{test}`: {said}{f', {skipped} skipped' if skipped and passed else ''}")
    for start in criterion.rows:
        mine_rows = [row for row in rows if row["what"].startswith(start)]
        bad, missing = bad or not all(row["met"] for row in mine_rows), missing or not mine_rows
        measured += [f"{row['what']}: **{row['measured']}**{_target(row)}" for row in mine_rows]
        measured += [] if mine_rows else [f"{start}: not run"]
    if bad or missing:
        return "FAILED" if bad else "not run", tuple(measured)
    return "shown" if measured else "needs an account", tuple(measured)


def _target(row: dict[str, Any]) -> str:
    return f" ({row['target']}{'' if row['met'] else ', missed'})" if row["target"] else ""


def every(ran: Sequence[Case], rows: Sequence[dict[str, Any]]) -> list[Found]:
    """All criteria judged, in the roadmap's order."""
    return [
        Found(section, criterion, *judge(criterion, ran, rows))
        for section, criteria in CRITERIA.items()
        for criterion in criteria
    ]


def page(found: Iterable[Found], made: str) -> str:
    """The whole page. made: when and on what."""
    lines = [
        "# What the roadmap asked for, and what was measured",
        "",
        "Written by `uv run --all-extras python -m bench.acceptance --write docs/VALIDATION.md`, which runs every test",
        "(paths are below `tests/`) and benchmark named here; nothing on this page is typed. *Needs an account*: no",
        "machine without one can show it; the command to run there stands beside it.",
        "",
        made,
    ]
    section = ""
    for each in found:
        if each.section != section:
            section = each.section
            lines += ["", f"## {section}", "", "| criterion | | shown by, and what it measured | on a real account |"]
            lines += ["|---|---|---|---|"]
        lines.append(
            f"| {each.criterion.text} | {each.verdict} | {'<br>'.join(each.measured)} | {each.criterion.live} |"
        )
    return "\n".join(lines) + "\n"


def machine() -> str:
    """The processor, what runs on it, and how busy it is."""
    import cpuinfo

    brand = cpuinfo.get_cpu_info().get("brand_raw", platform.machine())
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{brand}, {os.cpu_count()} cores (load average {os.getloadavg()[2]:.1f}), {system}"


def run_tests(slow: bool) -> list[Case]:
    """Run what the criteria name, once each."""
    named = {test for criteria in CRITERIA.values() for each in criteria for test in each.tests}
    whole = {test for test in named if "::" not in test}
    chosen = sorted(whole | {test for test in named if test.partition("::")[0] not in whole})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "junit.xml"
        argv = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            f"--junitxml={path}",
            *(["-m", ""] if slow else []),
        ]
        subprocess.run([*argv, *(f"tests/{test}" for test in chosen)], cwd=ROOT, check=False, stdout=sys.stderr)
        return cases(path.read_text()) if path.exists() else []


def run_benchmarks() -> dict[str, Any]:
    """The benchmarks' results; no rows if they could not be run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.json"
        argv = [sys.executable, "-m", "pytest", "bench", "--benchmark-only", f"--benchmark-json={path}"]
        subprocess.run(argv, cwd=ROOT, check=False, stdout=sys.stderr)
        return json.loads(path.read_text()) if path.exists() else {"benchmarks": []}


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 if anything named failed, was missed or did not run."""
    from datetime import UTC, datetime

    parser = argparse.ArgumentParser(prog="python -m bench.acceptance", description="The roadmap's criteria, measured.")
    parser.add_argument("--junit", type=Path, action="append", help="results of tests to read instead of running")
    parser.add_argument("--bench", type=Path, help="results of benchmarks to read instead of running")
    parser.add_argument("--slow", action="store_true", help="run the long proofs too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, help="write the page here")
    options = parser.parse_args(arguments)
    read: list[Case] = []
    for path in options.junit or ():
        again = cases(path.read_text())
        names = {(case.file, case.name) for case in again}
        read = [case for case in read if (case.file, case.name) not in names] + again
    ran = read if options.junit else run_tests(options.slow)
    bench = json.loads(options.bench.read_text()) if options.bench else run_benchmarks()
    rows = [row for benchmark in bench["benchmarks"] for row in benchmark["extra_info"].get("rows", ())]
    found = every(ran, rows)
    counts = {verdict: sum(each.verdict == verdict for each in found) for verdict in Verdict.__args__}  # type: ignore[attr-defined]
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    made = f"{datetime.now(UTC):%Y-%m-%d} on {machine()}: {len(ran)} tests; of {len(found)} criteria {said}."
    if options.write:
        options.write.write_text(page(found, made), encoding="utf-8")
    if options.json:
        print(
            json.dumps(
                {"made": made, "criteria": [each._asdict() | {"criterion": each.criterion._asdict()} for each in found]}
            )
        )
    else:
        print(made if options.write else page(found, made))
    return 1 if counts["FAILED"] or counts["not run"] else 0
