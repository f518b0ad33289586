"""What cannot be read in a ledger that SQLite itself finds sound: damaged, or edited by hand; and where it stands.

SQLite keeps a value of another kind than its column's. Who reads it would only trip over it far from here, so it is
looked for where rows are read.
"""

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from rooney.orders.control import Command, Verb
from rooney.orders.intents import Role, Said, Side, State
from rooney.orders.notices import Turn

UNREADABLE = (
    sqlite3.OperationalError,
    ArithmeticError,
    ValueError,
    LookupError,
    TypeError,
    RecursionError,
    msgspec.MsgspecError,
)
_KINDS = {"INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes, "NULL": type(None)}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def _json(kind: Any) -> Callable[[bytes], object]:
    return lambda text: msgspec.json.decode(text, type=kind)


# Columns that hold more than text; an empty `said` is nobody's.
_MEANINGS: dict[tuple[str, str], Callable[[Any], object]] = {
    ("intent", "role"): Role,
    ("intent", "side"): Side,
    ("event", "state"): lambda text: State(text.decode()),
    ("event", "said"): lambda text: Said(text.decode()),
    ("trade", "side"): Side,
    ("operator", "verb"): lambda text: Verb(text.decode()),
    ("operator", "command"): _json(Command),
    ("decision", "features"): _json(dict[str, float | None]),
    ("notice", "turn"): lambda text: Turn(text.decode()),
    ("status", "detail"): _json(dict[str, Any]),
    ("status", "layout"): _json(dict[str, Any]),
}


def columns(db: sqlite3.Connection) -> dict[tuple[str, str], tuple[type, ...]]:
    """(table, column) → kinds of its values."""
    rows = db.execute(
        'SELECT m.name, c.name, c.type, c."notnull" OR c.pk FROM sqlite_master m JOIN pragma_table_info(m.name) c'
        " WHERE m.type = 'table'"
    )
    return {
        (table, column): (_KINDS[kind],) if is_needed else (_KINDS[kind], _KINDS["NULL"])
        for table, column, kind, is_needed in rows
    }


def damage(db: sqlite3.Connection) -> str:
    """Table, row and column of the first value that cannot be read, and why; empty if there is none."""
    factory, allowed = db.text_factory, columns(db)
    try:
        db.text_factory = bytearray  # text, where bytes are a blob
        tables = dict.fromkeys(table for table, _ in allowed)
        return next(filter(None, (_in_table(db, table, allowed) for table in tables)), "")
    finally:
        db.text_factory = factory


def _in_table(db: sqlite3.Connection, table: str, allowed: dict[tuple[str, str], tuple[type, ...]]) -> str:
    cursor = db.execute(f'SELECT * FROM "{table}"')
    names = [column[0] for column in cursor.description]
    key = [row[1].decode() for row in db.execute(f'PRAGMA table_info("{table}")') if row[5]] or names[:1]
    for row in cursor:
        for name, value in zip(names, row, strict=True):
            try:
                _check(value, allowed[table, name])
                _MEANINGS.get((table, name), str)(value)
            except UNREADABLE as error:
                values = dict(zip(names, row, strict=True))
                which = " ".join(f"{part} {_text(values[part])}" for part in key)
                return f"table {table}, row {which}, column {name}: {error}"
    return ""


def _check(value: Any, allowed: tuple[type, ...]) -> None:
    kind = str if isinstance(value, bytearray) else type(value)
    if kind not in allowed:
        wanted = " or ".join(_NAMES[each] for each in allowed)
        raise TypeError(f"{_NAMES[kind]}, where {wanted} was expected")
    if kind is str:
        value.decode()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytearray) else str(value)
