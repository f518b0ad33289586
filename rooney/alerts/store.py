"""The sender's book: troubles, what each channel was told of them, messages that are on their way, cursors.

One SQLite file. What was taken from an outbox and where to go on from are one transaction; so are a message and what
it tells. A message leaves the book when a service has taken it: one that a process that died had sent goes out again.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from rooney.alerts.incidents import OLD_NS, Item, Telling, Trouble
from rooney.alerts.message import Message
from rooney.errors import LedgerError
from rooney.orders.notices import Notice, Turn

KEPT_NS = 90 * 86_400_000_000_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS trouble (
  id INTEGER PRIMARY KEY, scope TEXT NOT NULL, about TEXT NOT NULL, level INTEGER NOT NULL, symbol TEXT NOT NULL,
  text TEXT NOT NULL, began_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL, end_text TEXT NOT NULL,
  is_news INTEGER NOT NULL, is_seen INTEGER NOT NULL, is_done INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS trouble_open ON trouble(id) WHERE is_done = 0;
CREATE TABLE IF NOT EXISTS telling (
  channel TEXT NOT NULL, trouble INTEGER NOT NULL, told_ns INTEGER NOT NULL, is_over INTEGER NOT NULL,
  began_in TEXT NOT NULL, ended_in TEXT NOT NULL, PRIMARY KEY (channel, trouble)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS message (
  channel TEXT PRIMARY KEY, number TEXT NOT NULL, text TEXT NOT NULL, made_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (name TEXT PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS disabled (digest TEXT PRIMARY KEY, why TEXT NOT NULL, ts_ns INTEGER NOT NULL);
PRAGMA user_version = 1;
"""


class Book:
    """The book's file, of one process and thread. Raises LedgerError for one that is none. level: the least told."""

    def __init__(self, path: Path, level: int = 0) -> None:
        self._level = level
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._load()
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"{path}: not a sound alert book: {error}; make room, or move it away and alerts begin anew"
            ) from error

    def close(self) -> None:
        """Fold the journal into the file."""
        self._db.close()

    def _load(self) -> None:
        names = Trouble.__struct_fields__[:-1]
        columns = ", ".join(names)
        self.troubles: dict[int, Trouble] = {}
        self._standing: dict[tuple[str, str], Trouble] = {}
        for row in self._db.execute(f"SELECT {columns} FROM trouble WHERE is_done = 0 ORDER BY id"):
            one = msgspec.convert(dict(zip(names, row, strict=True)), Trouble, strict=False)
            self.troubles[one.id] = one
            if not one.ended_ns:
                self._standing[one.scope, one.about] = one
        rows = self._db.execute(
            "SELECT trouble, channel, told_ns, is_over FROM telling"
            " WHERE trouble IN (SELECT id FROM trouble WHERE is_done = 0)"
        )
        for trouble, channel, told_ns, is_over in rows:
            self.troubles[trouble].tellings[channel] = Telling(told_ns, bool(is_over))
        rows = self._db.execute("SELECT channel, number, text, made_ns FROM message")
        self.messages = {row[0]: Message(*row) for row in rows}
        self.disabled = dict(self._db.execute("SELECT digest, why FROM disabled"))

    # ── what has happened ──

    def cursor(self, name: str) -> int:
        """Up to where an outbox was taken."""
        row = self._db.execute("SELECT seq FROM cursor WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def take(self, name: str, seq: int, notices: Iterable[tuple[str, Notice, int]]) -> None:
        """Notices (scope, notice, when) of an outbox, and up to where it is taken now: both or neither."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for scope, notice, at_ns in notices:
                self._notice(scope, notice, at_ns)
            self._db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (name, seq))

    def _notice(self, scope: str, notice: Notice, at_ns: int) -> None:
        standing = self._standing.get((scope, notice.about))
        if notice.turn is Turn.ENDS and standing is not None:
            self._end(standing, at_ns, notice.text)
        elif notice.level < self._level:
            return
        elif notice.turn is Turn.BEGINS:
            self._begin(scope, notice, at_ns, is_seen=False)
        else:
            self._insert(scope, notice, at_ns, is_news=True, is_seen=False)

    def seen(self) -> dict[tuple[str, str], Notice]:
        """Notices that stand of those found by looking."""
        return {
            key: Notice(one.about, Turn.BEGINS, one.level, one.text, one.symbol)
            for key, one in self._standing.items()
            if one.is_seen
        }

    def see(self, found: Mapping[tuple[str, str], Notice], now_ns: int) -> list[tuple[str, Notice]]:
        """Take in what looking finds now, (scope, about) → notice; returns what changed, (scope, notice)."""
        changed: list[tuple[str, Notice]] = []
        fresh = [
            key
            for key, notice in found.items()
            if key not in self._standing or notice.level > self._standing[key].level
        ]
        over = [one for key, one in self._standing.items() if one.is_seen and key not in found]
        if not fresh and not over:
            return changed
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for key in fresh:
                standing = self._standing.get(key)
                self._begin(key[0], found[key], now_ns, is_seen=standing is None or standing.is_seen)
                changed.append((key[0], found[key]))
            for one in over:
                self._end(one, now_ns, one.text)
                changed.append((one.scope, Notice(one.about, Turn.ENDS, one.level, one.text, one.symbol)))
        return changed

    def _begin(self, scope: str, notice: Notice, at_ns: int, *, is_seen: bool) -> None:
        standing = self._standing.get((scope, notice.about))
        if standing is None:
            self._insert(scope, notice, at_ns, is_news=False, is_seen=is_seen)
            return
        if notice.level > standing.level:  # graver than it was: told as if it began
            for telling in standing.tellings.values():
                telling.told_ns = 0
            self._db.execute("UPDATE telling SET told_ns = 0 WHERE trouble = ?", (standing.id,))
        standing.level, standing.text, standing.is_seen = max(notice.level, standing.level), notice.text, is_seen
        self._db.execute(
            "UPDATE trouble SET level = ?, text = ?, is_seen = ? WHERE id = ?",
            (standing.level, standing.text, is_seen, standing.id),
        )

    def _end(self, one: Trouble, at_ns: int, text: str) -> None:
        one.ended_ns, one.end_text = max(at_ns, one.began_ns), text
        del self._standing[one.scope, one.about]
        self._db.execute("UPDATE trouble SET ended_ns = ?, end_text = ? WHERE id = ?", (one.ended_ns, text, one.id))

    def _insert(self, scope: str, notice: Notice, at_ns: int, *, is_news: bool, is_seen: bool) -> None:
        ended_ns = at_ns if is_news else 0
        values = (scope, notice.about, notice.level, notice.symbol, notice.text, at_ns, ended_ns, "", is_news, is_seen)
        cursor = self._db.execute(
            "INSERT INTO trouble (scope, about, level, symbol, text, began_ns, ended_ns, end_text, is_news, is_seen)"
            " VALUES (?,?,?,?,?,?,?,?,?,?)",
            values,
        )
        one = Trouble(int(cursor.lastrowid or 0), *values, {})
        self.troubles[one.id] = one
        if not is_news:
            self._standing[scope, one.about] = one

    # ── what is told ──

    def keep(self, message: Message, told: Sequence[Item]) -> None:
        """A message that is to be sent, with all it tells."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            row = (message.channel, message.number, message.text, message.made_ns)
            self._db.execute("INSERT INTO message VALUES (?,?,?,?)", row)
            rows = []
            for item in told:
                is_over = item.what in ("over", "news")
                one = item.trouble
                one.tellings[message.channel] = Telling(message.made_ns, is_over)
                rows.append(
                    (
                        message.channel,
                        one.id,
                        message.made_ns,
                        is_over,
                        message.number,
                        message.number if is_over else "",
                    )
                )
            self._db.executemany(
                "INSERT INTO telling VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE"
                " SET told_ns = excluded.told_ns, is_over = excluded.is_over, ended_in = excluded.ended_in",
                rows,
            )
        self.messages[message.channel] = message

    def delivered(self, message: Message) -> None:
        """A service has taken it, or never will."""
        self._db.execute("DELETE FROM message WHERE channel = ? AND number = ?", (message.channel, message.number))
        self.messages.pop(message.channel, None)

    def disable(self, digest: str, why: str) -> None:
        """A webhook is no longer used; another URL in its place is another digest."""
        self._db.execute("INSERT OR REPLACE INTO disabled VALUES (?,?,?)", (digest, why, time.time_ns()))
        self.disabled[digest] = why

    def settle(self, channels: Mapping[int, Sequence[str]], now_ns: int) -> None:
        """Close what all channels it concerns know the end of, or what is too old to be told. channels: per trouble."""
        done = [
            one.id
            for one in self.troubles.values()
            if one.ended_ns
            and (
                one.ended_ns < now_ns - OLD_NS
                or all(
                    name in one.tellings and one.tellings[name].is_over and name not in self.messages
                    for name in channels[one.id]
                )
            )
        ]
        if not done:
            return
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("UPDATE trouble SET is_done = 1 WHERE id = ?", [(id_,) for id_ in done])
            old = (now_ns - KEPT_NS,)
            self._db.execute(
                "DELETE FROM telling WHERE trouble IN (SELECT id FROM trouble WHERE is_done = 1 AND ended_ns < ?)", old
            )
            self._db.execute("DELETE FROM trouble WHERE is_done = 1 AND ended_ns < ?", old)
        for id_ in done:
            del self.troubles[id_]


class Told(msgspec.Struct, frozen=True):
    """A trouble as `rooney alerts` shows it. messages: numbers of those that told of its begin and its end."""

    scope: str
    about: str
    level: int
    text: str
    began_ns: int
    ended_ns: int
    is_news: bool
    messages: str


def told(path: Path, since_ns: int) -> list[Told]:
    """Troubles that stand, and those over after `since_ns`, newest first; read only. Raises LedgerError."""
    if not path.exists():
        raise LedgerError(f"{path}: there is no alert book: rooney-alert-sender.service has never run")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as db:
            rows = db.execute(
                "SELECT scope, about, level, text, began_ns, ended_ns, is_news, coalesce((SELECT group_concat(DISTINCT"
                " trim(began_in || ' ' || ended_in)) FROM telling l WHERE l.trouble = t.id), '') FROM trouble t"
                " WHERE ended_ns = 0 OR ended_ns >= ? ORDER BY ended_ns > 0, id DESC",
                (since_ns,),
            ).fetchall()
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: cannot be read: {error}") from error
    names = Told.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), Told, strict=False) for row in rows]
