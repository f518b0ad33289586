"""Outboxes: what ledgers and reports have for people after a cursor. Read only; a worker never notices."""

import logging
from pathlib import Path

import msgspec

from rooney.errors import FileError
from rooney.files import read_json, write_whole
from rooney.ledger.reader import opened
from rooney.orders.notices import Notice, Turn

AT_ONCE = 5_000
REPORTS = Path("/var/lib/rooney-report/outbox")

Told = tuple[str, Notice, int]  # scope, notice, when (UTC ns)


def of_ledger(path: Path, name: str, after: int) -> tuple[list[Told], int]:
    """Notices of a strategy's ledger after a cursor, and the new cursor. Raises LedgerError.

    A ledger that was restored from a backup ends before the cursor: what it holds was told already.
    """
    with opened(path) as ask:
        last = next((seq for seq, _, _ in ask.notices("ORDER BY seq DESC LIMIT 1")), 0)
        rows = ask.notices("WHERE seq > ? ORDER BY seq LIMIT ?", (min(after, last), AT_ONCE))
    return [(name, notice, at_ns) for _, at_ns, notice in rows], rows[-1][0] if rows else last


class Posted(msgspec.Struct, frozen=True):
    """A file of a report's outbox: (scope, notice) each."""

    made_ns: int
    notices: list[tuple[str, Notice]]


def post(directory: Path, posted: Posted) -> None:
    """Leave something for the sender, whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / f"{posted.made_ns}.json", msgspec.json.encode(posted))


def of_directory(directory: Path, after: int) -> tuple[list[Told], int]:
    """The same of a report's files. Of one that cannot be read that is told, and the next ones are not held up."""
    try:
        names = sorted((int(path.stem), path) for path in directory.glob("*.json") if path.stem.isdigit())
    except OSError:
        return [], after
    found: list[Told] = []
    for made_ns, path in names:
        if made_ns <= after:
            continue
        try:
            notices = read_json(path, Posted).notices
        except FileError as error:
            notices = [("", Notice("report", Turn.NEWS, logging.ERROR, f"a report is lost: {error}"))]
        found += [(scope, notice, made_ns) for scope, notice in notices]
        after = made_ns
    return found, after
