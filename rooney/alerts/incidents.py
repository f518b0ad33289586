"""Incidents: what stands, what is over, and what a channel was told of each. Values only."""

import msgspec

OLD_NS = 86_400_000_000_000  # what was over before that is not told any more


class Telling(msgspec.Struct):
    """Message to a channel about a trouble. told_ns: when last, 0 never; is_over: its end, too."""

    told_ns: int = 0
    is_over: bool = False


class Trouble(msgspec.Struct):
    """A trouble, or a piece of news, which is over when it begins.

    scope: a strategy, empty for what is common to all; about: its name within the scope; ended_ns: 0 while it stands
    tellings: by channel; id: in the book
    """

    id: int
    scope: str
    about: str
    level: int
    symbol: str
    text: str
    began_ns: int
    ended_ns: int = 0
    end_text: str = ""
    is_news: bool = False
    is_seen: bool = False  # found by looking; it ends when it is no longer seen
    tellings: dict[str, Telling] = {}

    @property
    def kind(self) -> str:
        """Name it has in common with others: `order` of `order 7f3a`."""
        return self.about.partition(" ")[0]


class Item(msgspec.Struct, frozen=True):
    """Something to tell: since_ns: when it came about; what: begins, stands, over or news."""

    trouble: Trouble
    what: str
    since_ns: int
