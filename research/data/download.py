"""Minutes from Databento's historical API into the store: asked for a month at a time, kept as they came, paid once.

    raw/GLBX.MDP3/ohlcv-1m/ES/2024-01-01_2024-02-01.dbn.zst        downloaded, and in the store
                                                  ….new.dbn.zst    downloaded whole, not yet in the store
                                                  ….dbn.zst.part   cut off: never used, asked for again

The names say which days are there already, so a run that was cut off, or one for a longer time, asks for the rest only.
"""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import databento
import msgspec
import requests

from research.data.importing import import_file
from research.data.sources import Reading
from research.data.store import Added, Store
from research.history.findings import Finding
from rooney.errors import ConfigError, FeedError, FeedFatalError
from rooney.files import sync

DATASET, SCHEMA = "GLBX.MDP3", "ohlcv-1m"
DONE, NEW, PART = ".dbn.zst", ".new.dbn.zst", ".dbn.zst.part"
PAUSES_S = (1.0, 4.0, 15.0, 60.0)  # between attempts of one chunk
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)_(\d{4}-\d\d-\d\d)(?:\.new)?\.dbn\.zst")
_PASSING = (408, 429)  # the only answers of the 400s that another try may change


class Span(msgspec.Struct, frozen=True, order=True):
    """UTC days [start, end) of one root."""

    root: str
    start: date
    end: date

    @property
    def name(self) -> str:
        """Of its file, without suffix."""
        return f"{self.start}_{self.end}"


class Offer(msgspec.Struct, frozen=True):
    """What a span costs. size_bytes: before compression, as billed."""

    span: Span
    size_bytes: int
    cost_usd: float


class Archive:
    """The API, and the folder that its answers are kept in.

    key:     goes to the client, and nowhere else
    gateway: URL of a local stand-in; None = Databento
    """

    def __init__(self, store: Store, key: str, gateway: str | None = None) -> None:
        self._store = store
        self._client = databento.Historical(key, **({} if gateway is None else {"gateway": gateway}))
        self.folder = store.raw / DATASET / SCHEMA

    def available_until(self) -> date:
        """The first UTC day that cannot be had whole. Raises FeedError."""
        found = self._ask("which days there are", lambda: self._client.metadata.get_dataset_range(DATASET))
        return datetime.fromisoformat(found["end"][:19]).date()

    def missing(self, root: str, start: date, end: date) -> list[Span]:
        """What is not on disk yet of [start, end), in pieces of whole stretches."""
        spans, day = [], start
        for first, past in sorted(self._held(root)):
            if past <= day or first >= end:
                continue
            if first > day:
                spans.append(Span(root, day, first))
            day = max(day, past)
        return [*spans, Span(root, day, end)] if day < end else spans

    def offer(self, span: Span) -> Offer:
        """Ask for size and price; that is free. Raises FeedError."""
        asked = self._asked(span)
        size = self._ask("the size", lambda: self._client.metadata.get_billable_size(**asked))
        cost = self._ask("the price", lambda: self._client.metadata.get_cost(**asked))
        return Offer(span, int(size), float(cost))

    def fetch(self, span: Span) -> Path:
        """Download one span, whole: as many records as Databento says there are. Raises FeedError."""
        folder = self.folder / span.root
        folder.mkdir(parents=True, exist_ok=True)
        asked = self._asked(span)
        count = int(self._ask("the number of bars", lambda: self._client.metadata.get_record_count(**asked)))
        part, new = folder / f"{span.name}{PART}", folder / f"{span.name}{NEW}"

        def once() -> None:
            part.unlink(missing_ok=True)  # the client refuses to write over a file
            store = self._client.timeseries.get_range(**asked, path=part)
            got = len(store.to_ndarray())
            if got != count:
                raise databento.BentoError(f"{got:,} of {count:,} bars came")

        self._ask(f"{span.root} {span.name}", once)
        sync(part)
        part.replace(new)
        return new

    def import_new(self) -> Iterator[tuple[Path, Added, list[Finding]]]:
        """Put what is downloaded whole into the store, file by file; also what an earlier run left."""
        for new in sorted(self.folder.glob(f"*/*{NEW}")):
            added, findings = import_file(self._store, new, Reading())
            if any(finding.kind == "refused" for finding in findings):
                raise FeedError(f"{findings[0].lines()[-1].strip()}; it stays as it is")
            done = new.with_name(new.name.removesuffix(NEW) + DONE)
            new.replace(done)
            yield done, added, findings

    def _held(self, root: str) -> Iterator[tuple[date, date]]:
        for path in (self.folder / root).glob("*"):
            if match := _NAME.fullmatch(path.name):
                yield date.fromisoformat(match[1]), date.fromisoformat(match[2])

    def _asked(self, span: Span) -> dict[str, Any]:
        # Every contract of the root: which one was in front is decided here, by the hub's rule.
        return {
            "dataset": DATASET,
            "schema": SCHEMA,
            "stype_in": "parent",
            "symbols": f"{span.root}.FUT",
            "start": datetime(span.start.year, span.start.month, span.start.day, tzinfo=UTC),
            "end": datetime(span.end.year, span.end.month, span.end.day, tzinfo=UTC),
        }

    def _ask(self, what: str, ask: Callable[[], Any]) -> Any:
        """Ask until it is answered. Raises FeedFatalError for what another try cannot change, FeedError at last."""
        for pause_s in (*PAUSES_S, None):
            try:
                return ask()
            except databento.BentoHttpError as error:
                if isinstance(error, databento.BentoClientError) and error.http_status not in _PASSING:
                    text = f"Databento refuses {what}: {error.http_status} {error.message}; not trying again"
                    raise FeedFatalError(text) from None
                why = f"{error.http_status} {error.message}"
            except (databento.BentoError, requests.RequestException, OSError, ValueError, RuntimeError) as error:
                why = str(error)
            if pause_s is None:
                raise FeedError(
                    f"Databento: {what}: {why}; tried {len(PAUSES_S) + 1} times. What is complete is kept: "
                    "run the command again for the rest"
                )
            time.sleep(pause_s)
        raise AssertionError("unreachable")


def months(span: Span) -> Iterator[Span]:
    """The span in pieces that end with a month."""
    day = span.start
    while day < span.end:
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield Span(span.root, day, min(following, span.end))
        day = following


def check_span(start: date, end: date, until: date) -> date:
    """The end that can be had. Raises ConfigError for a span that is empty or lies in the future."""
    if start >= end:
        raise ConfigError(f"--start {start}, --end {end}: the end must be later; nothing was asked for")
    if start >= until:
        raise ConfigError(f"--start {start}: there is nothing from {until} on yet; nothing was bought")
    return min(end, until)
