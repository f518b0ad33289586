"""Bars from a file into the store of history."""

from pathlib import Path

from research.data.checks import check
from research.data.frame import MAX_EXAMPLES, Example, Finding, refused
from research.data.sources import Reading, read
from research.data.store import Added, Store
from rooney.errors import ConfigError


def import_file(
    store: Store, file: Path, reading: Reading, *, stamp: str = "open", replace: bool = False, write: bool = True
) -> tuple[Added, list[Finding]]:
    """One file into the store."""
    try:
        checked = check(str(file), read(file, reading), stamp=stamp)
    except ConfigError as error:
        return Added(), [refused(str(file), str(error).removeprefix(f"{file}: "))]
    added = store.add(checked.bars, replace=replace, write=write)
    findings = checked.findings
    if added.conflicts:
        examples = [Example(None, f"{key}: {values}") for key, values in added.conflicts[:MAX_EXAMPLES]]
        findings = [*findings, Finding(str(file), "conflict", len(added.conflicts), examples)]
    return added, findings
