"""Progress of long work, told to whoever shows it: a label, then the share that is done."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Steps = Callable[[float], None]  # takes the share done, 0 to 1
Progress = Callable[[str], AbstractContextManager[Steps]]


def unwatched(share: float) -> None:
    """Steps that nobody watches."""


@contextmanager
def silent(label: str) -> Iterator[Steps]:
    """Progress that nobody watches."""
    yield unwatched
