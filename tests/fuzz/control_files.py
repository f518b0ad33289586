"""Switches and commands that an operator leaves: a switch holds whatever is in it, a command is one or is refused."""

import tempfile
from collections import Counter
from pathlib import Path

from rooney.orders.control import Command, Control, Level, Resolution, Verb, put_command, set_switch, switches
from tests.support.mutations import Reader, sweep

WHO = ("ann", "fuzz")


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by reader and verdict."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as folder:
        root = Path(folder)
        return sweep({"switch": _switch(root), "command": _command(root)}, cases, seed)


def _switch(root: Path) -> Reader:
    paths = [set_switch(root, "ibs", level, *WHO) for level in Level]
    contents = [path.read_bytes() for path in paths]

    def read(content: bytes) -> None:
        for path in paths:
            path.write_bytes(content)
        assert [each.level for each in switches(root, "ibs")] == list(Level)
        assert all(str(each).encode() for each in switches(root, "ibs"))

    return Reader(valid=contents, read=read, errors=())


def _command(root: Path) -> Reader:
    commands = [
        Command(1, Verb.RESUME, *WHO),
        Command(1, Verb.RESOLVE, *WHO, intent="0123456789abcdef", outcome=Resolution.FILLED, price=4_500.25),
        Command(1, Verb.POSITION, *WHO, symbol="ES", side=-1, quantity=2, price=4_500.25),
        Command(1, Verb.CASH, *WHO, usd=-10.5),
        Command(1, Verb.FLATTEN, *WHO, symbols=("ES", "NQ")),
    ]
    paths = [put_command(root, "momentum", command) for command in commands]
    contents = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    control = Control(root, "momentum")

    def read(content: bytes) -> None:
        path = next((path for path in paths if path.stem[2:].encode() in content), paths[0])  # the verb must agree
        path.write_bytes(content)
        (waiting,) = control.commands()
        path.unlink()
        if waiting.command is None:
            assert waiting.lack
            raise Refused

    return Reader(valid=contents, read=read, errors=(Refused,))


class Refused(Exception):
    """It is no command, and says why."""
