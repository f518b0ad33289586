"""Troubles that show over time or in numbers: latency, memory, Redis, the disk. Pure; fed with samples."""

import logging
import math
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import TypeVar

import msgspec

from rooney.ledger import latency as pace
from rooney.orders.notices import Notice, Turn

T = TypeVar("T")

WINDOW_NS = 4 * 3_600_000_000_000
MINUTES_LEAST = 60  # fewer minutes have no 99th percentile worth the name
HOUR_NS = 3_600_000_000_000
GROWTH_PER_HOUR = 0.10
GROWTH_LEAST_BYTES = 16 * 2**20  # less than that is no leak anybody would look for
PINGS = 5
PING_LIMIT_S = 0.05
DISK_LEAST = 0.10
SAMPLES = 16


class Sample(msgspec.Struct, frozen=True):
    """Numbers of one look. memory: process → bytes; pace: strategy → (within ms → minutes) of the trade date.

    redis: (used bytes, limit, connections, limit), limits 0 for none, or None when it is away; ping_s: of a PING
    disk_free: share of the ledgers' disk
    """

    ts_ns: int
    redis: tuple[int, int, int, int] | None = None
    ping_s: float = 0.0
    memory: Mapping[str, int] = {}
    pace: Mapping[str, Mapping[int, int]] = {}
    disk_free: float = 1.0


Found = dict[tuple[str, str], Notice]  # (scope, about) → what stands


class Thresholds:
    """Add samples in order; about every minute is enough."""

    def __init__(self) -> None:
        self._pings: deque[float] = deque(maxlen=PINGS)
        self._memory: dict[str, deque[tuple[int, int]]] = {}
        self._paces: dict[str, deque[tuple[int, Mapping[int, int]]]] = {}
        self._last: Sample | None = None

    def add(self, sample: Sample) -> None:
        """Take in a sample."""
        self._last = sample
        if sample.redis is not None:
            self._pings.append(sample.ping_s)
        for name, used in sample.memory.items():
            kept = self._memory.setdefault(name, deque())
            if kept and used < kept[-1][1] * 0.7:  # another process, or it has let go: no leak
                kept.clear()
            _push(kept, (sample.ts_ns, used), HOUR_NS)
        for name, counts in sample.pace.items():
            _push(self._paces.setdefault(name, deque()), (sample.ts_ns, counts), WINDOW_NS)

    def found(self) -> Found:
        """Notices of what stands now."""
        sample = self._last
        if sample is None:
            return {}
        found: Found = {}
        if sample.redis is not None:
            used, limit, clients, most = sample.redis
            if limit and used >= 0.8 * limit:
                level = logging.ERROR if used >= 0.95 * limit else logging.WARNING
                text = (
                    f"Redis uses {used / 2**20:.0f} of {limit / 2**20:.0f} MiB; when it is full the hub cannot publish"
                )
                _add(found, "", "redis memory", level, text)
            if most and clients >= 0.8 * most:
                _add(found, "", "redis connections", logging.WARNING, f"Redis has {clients} of {most} connections")
            if len(self._pings) == PINGS and median(self._pings) > PING_LIMIT_S:
                text = f"Redis answers in {median(self._pings) * 1e3:.0f} ms (limit {PING_LIMIT_S * 1e3:.0f} ms)"
                _add(found, "", "redis latency", logging.WARNING, text)
        for name, kept in self._paces.items():
            counts = _between(kept[0][1], kept[-1][1])
            minutes, p99 = sum(counts.values()), pace.quantile_ms(counts, 0.99)
            if minutes >= MINUTES_LEAST and p99 > pace.PROMISED_MS:
                bound = f"over {pace.BOUNDS_MS[-1]}" if math.isinf(p99) else f"up to {p99:.0f}"
                text = f"latency p99 is {bound} ms in the last {minutes} minutes (limit {pace.PROMISED_MS} ms)"
                _add(found, name, "latency", logging.WARNING, text)
        for name, used_ in self._memory.items():
            (begin_ns, before), (end_ns, now) = used_[0], used_[-1]
            if end_ns - begin_ns >= HOUR_NS * 0.95 and now - before >= max(
                GROWTH_LEAST_BYTES, before * GROWTH_PER_HOUR
            ):
                text = f"memory of {name} grew from {before / 2**20:.0f} to {now / 2**20:.0f} MiB within an hour"
                _add(found, "", f"memory {name}", logging.WARNING, text)
        if sample.disk_free < DISK_LEAST:
            _add(found, "", "disk", logging.WARNING, f"the disk of the ledgers has {sample.disk_free:.0%} left")
        return found


def _add(found: Found, scope: str, about: str, level: int, text: str) -> None:
    found[scope, about] = Notice(about, Turn.BEGINS, level, text)


def _push(kept: deque[tuple[int, T]], one: tuple[int, T], window_ns: int) -> None:
    """Keep what lies within the window, and the newest one before it; thinned out, so that it stays small."""
    if len(kept) >= 2 and one[0] - kept[-2][0] < window_ns // SAMPLES:
        kept[-1] = one
    else:
        kept.append(one)
    while len(kept) >= 3 and kept[1][0] <= one[0] - window_ns:
        kept.popleft()


def _between(before: Mapping[int, int], now: Mapping[int, int]) -> dict[int, int]:
    """Minutes counted since; of a new trade date all."""
    if sum(now.values()) < sum(before.values()):
        return dict(now)
    return {bound: number - before.get(bound, 0) for bound, number in now.items()}
