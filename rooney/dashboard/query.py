"""Address of a page beside its path: zone, colours and filters, and links that keep them."""

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from rooney.dashboard import charts


class Query(msgspec.Struct, frozen=True):
    """Query part of a page's address; every combination has a link of its own.

    zone: utc or chicago; colours: classic (green, red) or safe (blue, orange); page: whose parts the event
    stream is to bring; the rest filters tables
    """

    zone: str = "utc"
    colours: str = "classic"
    symbol: str = ""
    reason: str = ""
    side: str = ""
    strategy: str = ""
    state: str = ""
    page: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Query":
        """Whatever was asked; what cannot be meant is left out, so that nothing odd comes back in a link."""
        known = {name: given.get(name, "") for name in cls.__struct_fields__}
        known = {name: value for name, value in known.items() if value and value.isascii() and len(value) <= 40}
        if known.get("zone") not in charts.ZONES:
            known.pop("zone", None)
        if known.get("colours") not in ("classic", "safe"):
            known.pop("colours", None)
        return cls(**known)

    def link(self, path: str, **changes: str) -> str:
        """An address with this query, changed; what is as by default is not in it."""
        mine = {name: changes.get(name, getattr(self, name)) for name in self.__struct_fields__}
        default = Query()
        asked = {name: value for name, value in mine.items() if value != getattr(default, name)}
        return f"{path}?{urlencode(asked)}" if asked else path

    def tab(self, path: str) -> str:
        """The address of another page: filters stay behind."""
        return Query(self.zone, self.colours).link(path)
