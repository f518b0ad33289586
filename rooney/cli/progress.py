"""Bars of progress on a terminal's standard error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def bars(label: str) -> Iterator[Callable[[float], None]]:
    """A bar; yields what takes the share done, 0 to 1."""
    with click.progressbar(length=1000, label=label, file=sys.stderr) as bar:
        yield lambda share: bar.update(int(share * 1000) - bar.pos)
