"""Verdicts and a backtest's promises, left by `rooney compare --keep` and `rooney audit` for those who look.

One directory beside the ledgers; files of one JSON object each, replaced as a whole.
"""

from pathlib import Path

import msgspec

from rooney.errors import ConfigError, FileError, LedgerError
from rooney.files import MIB, read_json, write_shared
from rooney.performance.drift import Expectation, expect
from rooney.performance.runs import Run
from rooney.performance.verdict import Verdict

DIRECTORY = "compare"
_EXPECTATION = ".expectation.json"


def verdict_path(state: Path, verdict: Verdict) -> Path:
    """`STATE/compare/NAME.compare.json` or `NAME.audit.json`."""
    return state / DIRECTORY / f"{verdict.name}.{verdict.kind}.json"


def expectation_path(state: Path, name: str) -> Path:
    """`STATE/compare/NAME.expectation.json`."""
    return state / DIRECTORY / f"{name}{_EXPECTATION}"


def keep_comparison(state: Path, verdict: Verdict) -> Path:
    """File where the dashboard and alerts look. Raises ConfigError if that cannot be written."""
    path = verdict_path(state, verdict)
    _replace(path, msgspec.json.encode(verdict))
    return path


def keep_expectation(state: Path, name: str, run: Run, ts_ns: int) -> Path | None:
    """File with a backtest's promise of a strategy; None if too few trades promise anything. Raises ConfigError."""
    expectation = expect(name, run.label, ts_ns, [trade.pnl_usd for trade in run.trades])
    if expectation is None:
        return None
    path = expectation_path(state, name)
    _replace(path, msgspec.json.encode(expectation))
    return path


def _replace(path: Path, data: bytes) -> None:
    try:
        write_shared(path.parent, path, data)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; the result is not kept") from None


class KeptView:
    """Follows the directory; one thread at a time. A look at what has not changed costs a `stat` per file."""

    def __init__(self, state: Path) -> None:
        self._directory = state / DIRECTORY
        self._known: dict[Path, tuple[tuple[int, int, int], Verdict | Expectation]] = {}
        self.troubles: dict[str, str] = {}

    def look(self) -> tuple[list[Verdict], dict[str, Expectation]]:
        """Verdicts by name and kind, and expectations by strategy. What cannot be read is in `troubles`, by file."""
        self.troubles = {}
        known = {}
        try:
            paths = sorted(self._directory.glob("*.json"))
        except OSError:
            paths = []
        for path in paths:
            try:
                stat = path.stat()
                stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
                before = self._known.get(path)
                known[path] = before if before and before[0] == stamp else (stamp, read(path))
            except (OSError, LedgerError) as error:
                self.troubles[path.name] = str(error)
        self._known = known
        kept = [value for _, value in known.values()]
        expected = {value.strategy: value for value in kept if isinstance(value, Expectation)}
        return [value for value in kept if isinstance(value, Verdict)], expected


def read(path: Path) -> Verdict | Expectation:
    """Content of a file. Raises LedgerError if it is not what its name says."""
    kind: type[Verdict] | type[Expectation] = Expectation if path.name.endswith(_EXPECTATION) else Verdict
    try:
        return read_json(path, kind, 64 * MIB, then="it is shown as unknown")
    except FileError as error:
        raise LedgerError(str(error)) from None
