"""Place of what cannot be read in a ledger that SQLite itself finds sound: text that was damaged, or edited by hand."""

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from rooney.orders.control import Command, Verb
from rooney.orders.intents import Role, Said, Side, State

UNREADABLE = (
    sqlite3.OperationalError,
    ArithmeticError,
    ValueError,
    LookupError,
    TypeError,
    RecursionError,
    msgspec.MsgspecError,
)


def _json(kind: Any) -> Callable[[bytes], object]:
    return lambda text: msgspec.json.decode(text, type=kind)


def _state(text: bytes) -> State:
    return State(text.decode())


# Columns that hold more than text; an empty `said` is nobody's.
_KINDS: dict[tuple[str, str], Callable[[Any], object]] = {
    ("intent", "role"): Role,
    ("intent", "side"): Side,
    ("event", "state"): _state,
    ("event", "said"): lambda text: Said(text.decode()),
    ("trade", "side"): Side,
    ("operator", "verb"): lambda text: Verb(text.decode()),
    ("operator", "command"): _json(Command),
    ("decision", "features"): _json(dict[str, float | None]),
    ("status", "detail"): _json(dict[str, Any]),
    ("status", "layout"): _json(dict[str, Any]),
}


def damage(db: sqlite3.Connection) -> str:
    """Table, row and column of the first value that cannot be read, and why; empty if there is none."""
    factory, db.text_factory = db.text_factory, bytes
    try:
        tables = [name.decode() for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return next(filter(None, (_in_table(db, table) for table in tables)), "")
    finally:
        db.text_factory = factory


def _in_table(db: sqlite3.Connection, table: str) -> str:
    cursor = db.execute(f'SELECT * FROM "{table}"')
    names = [column[0] for column in cursor.description]
    key = [row[1].decode() for row in db.execute(f'PRAGMA table_info("{table}")') if row[5]] or names[:1]
    for row in cursor:
        for name, value in zip(names, row, strict=True):
            try:
                if isinstance(value, bytes) and (table, name) not in (("status", "book"), ("checkpoint", "state")):
                    value.decode()
                if value is not None and (check := _KINDS.get((table, name))) is not None:
                    check(value)
            except UNREADABLE as error:
                values = dict(zip(names, row, strict=True))
                which = " ".join(f"{part} {_text(values[part])}" for part in key)
                return f"table {table}, row {which}, column {name}: {error}"
    return ""


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
