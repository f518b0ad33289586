"""Findings: what is wrong with files of bars, by kind, counted, with where the first few are."""

from collections.abc import Iterable

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """One kind of finding. problem: counts against strict mode; done: what became of the row."""

    text: str
    done: str
    problem: bool = True


KINDS = {
    "refused": Kind("file refused", "nothing of it was taken"),
    "no_time": Kind("no time of 1971 to 2099, or one that does not exist in its zone", "left out"),
    "no_root": Kind("no root such as ES or 6E", "left out"),
    "wrong_root": Kind("contract of another root, or one that cannot be", "left out"),
    "off_minute": Kind("stamp not on the timeframe's grid", "left out"),
    "daily_stamp": Kind("daily bar not stamped at the open of a trade date (its minutes would give one)", "left out"),
    "not_a_number": Kind("price missing, not finite, beyond nine billion, or not above 0 (energy may be)", "left out"),
    "inconsistent": Kind("high or low does not hold open and close", "left out"),
    "bad_volume": Kind("volume missing, negative or not whole", "left out"),
    "no_trade": Kind("flat bar of volume 0: no trade made it", "left out"),
    "late": Kind("trade older than a minute that was over", "left out, as the hub does"),
    "bad_clock": Kind("trade stamped long after those around it, or in the future", "left out, as the hub does"),
    "absurd_price": Kind("trade far from the price, which no other confirmed", "left out, as the hub does"),
    "empty": Kind("no rows in it", "nothing to take", False),
    "duplicate": Kind("the same bar again", "left out"),
    "conflict": Kind("another bar of the same minute and contract", "left out, the first one stays"),
    "unknown_root": Kind("root of no known product: its tick grid and hours are not checked", "kept", False),
    "not_outright": Kind("spread or other combination", "left out", False),
    "no_contract": Kind("series that names no contract: good for a backtest, not for live history", "kept", False),
    "unsorted": Kind("earlier than the row before it", "sorted"),
    "off_grid": Kind("price between two ticks", "kept"),
    "zero_volume": Kind("volume 0 although the price moved", "kept"),
    "off_session": Kind("outside the session: in no hour, no day and no decision", "kept"),
    "gap": Kind("session time without a bar", "kept as it is"),
    "close_stamped": Kind("stamps look like the end of the bars", "taken as they are; import with --stamp close"),
    "open_stamped": Kind("stamps look like the start of the bars", "taken as they are; import with --stamp open"),
    "wrong_zone": Kind("stamps fit the sessions of another time zone better", "taken as they are; see --zone"),
    "misplaced": Kind("row of another root, timeframe or year than its file", "kept as it is"),
    "unfinished": Kind("download that was cut off", "not used; download again"),
}
MAX_EXAMPLES = 5


class Example(msgspec.Struct, frozen=True):
    """Where a finding shows. row: counted from 1, without a CSV's header; None = the file as a whole."""

    row: int | None
    value: str


class Finding(msgspec.Struct, frozen=True):
    """All rows of one file that share one kind of finding. examples: the first few."""

    file: str
    kind: str
    count: int
    examples: list[Example]

    @property
    def problem(self) -> bool:
        return KINDS[self.kind].problem

    def lines(self) -> list[str]:
        """For a person."""
        kind = KINDS[self.kind]
        lines = [f"{self.file}: {self.count:,} × {kind.text}: {kind.done}"]
        for example in self.examples:
            lines.append(f"    row {example.row:,}: {example.value}" if example.row else f"    {example.value}")
        if self.count > len(self.examples) > 0 and self.examples[0].row:
            lines.append(f"    and {self.count - len(self.examples):,} more")
        return lines


def refused(file: str, why: str) -> Finding:
    """A whole file that is not taken."""
    return Finding(file, "refused", 1, [Example(None, why)])


class Findings:
    """Findings of one file while it is read."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[str, tuple[int, list[Example]]] = {}

    def add(self, kind: str, count: int, examples: Iterable[Example] = ()) -> None:
        """So many more of a kind."""
        before, had = self._found.get(kind, (0, []))
        if count:
            self._found[kind] = before + count, [*had, *examples][:MAX_EXAMPLES]

    def list(self) -> "list[Finding]":
        """All of the file, by kind."""
        return [Finding(self.file, kind, count, examples) for kind, (count, examples) in self._found.items()]
