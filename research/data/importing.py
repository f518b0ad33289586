"""Bars from files into the store of history."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from research.data.checks import check
from research.data.sources import Reading, check_zone, files_of, read
from research.data.store import Added, Store
from research.history.findings import MAX_EXAMPLES, Example, Finding, Findings, refused
from rooney.errors import ConfigError


class Import(NamedTuple):
    """An import's outcome. is_refused: nothing was written, because it was to be strict and something is wrong."""

    files: int
    added: Added
    findings: list[Finding]
    is_refused: bool


def import_files(
    paths: Sequence[Path],
    to: Path,
    reading: Reading,
    *,
    stamp: str = "open",
    strict: bool = False,
    replace: bool = False,
) -> Import:
    """Read, check and store all files; strict: nothing is written if anything is wrong with any of them."""
    if reading.zone is not None:
        check_zone(reading.zone)
    store, files = Store(to), files_of(paths)

    def added(*, write: bool) -> tuple[Added, list[Finding]]:
        total, findings = Added(), list[Finding]()
        for file in files:
            more, of_file = import_file(store, file, reading, stamp=stamp, replace=replace, write=write)
            total, findings = total + more, findings + of_file
        return total, findings

    with store.writing():
        if strict:
            total, findings = added(write=False)
            if any(finding.problem for finding in findings):
                return Import(len(files), total, findings, True)
        return Import(len(files), *added(write=True), False)


def import_file(
    store: Store, file: Path, reading: Reading, *, stamp: str = "open", replace: bool = False, write: bool = True
) -> tuple[Added, list[Finding]]:
    """Read, check and store one file."""
    told = Findings(str(file))
    try:
        checked = check(str(file), read(file, reading, told), stamp=stamp)
    except ConfigError as error:
        return Added(), [refused(str(file), str(error).removeprefix(f"{file}: "))]
    added = store.add(checked.bars, replace=replace, write=write)
    findings = told.list() + checked.findings
    if added.conflicts:
        examples = [Example(None, f"{key}: {values}") for key, values in added.conflicts[:MAX_EXAMPLES]]
        findings = [*findings, Finding(str(file), "conflict", len(added.conflicts), examples)]
    return added, findings
