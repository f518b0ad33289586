"""Facts of the machine that pages show: versions, free disk, the clock, a strategy's settings."""

import math
import platform
import shutil
from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from rooney import __version__
from rooney.config.schema import StrategyBlock
from rooney.market import sessions
from rooney.market.sessions import CHICAGO
from rooney.monitor.system import System
from rooney.secrets import Secret


def settings(block: StrategyBlock) -> list[tuple[str, str, bool]]:
    """(key, value, whether it is the default) of a strategy's block; of an account only whether there is one."""
    default = type(block)()
    found = []
    for name in block.__struct_fields__:
        value = getattr(block, name)
        if isinstance(value, Secret):
            text = "given (not shown)"
        elif isinstance(value, msgspec.Struct | dict | tuple):
            text = ", ".join(map(str, value)) if isinstance(value, tuple) else _flat(value)
        else:
            text = "off" if value is None else str(value)
        found.append((name, text or "none", value == getattr(default, name)))
    return found


def _flat(value: Any) -> str:
    plain = msgspec.to_builtins(value)
    return ", ".join(f"{key}: {_flat(item) if isinstance(item, dict) else item}" for key, item in plain.items())


def clock(now_ns: int, groups: Collection[str]) -> dict[str, Any]:
    """Times of the head: now, and what the sessions of these groups do next, those of some of them by name."""
    changes = {group: sessions.next_change(group, now_ns) for group in sorted(groups)}
    open_groups = {group: change for group, change in changes.items() if change[1] != "opens"}
    soonest = min((open_groups or changes).values(), default=(0, "opens"))
    those = [group for group, change in changes.items() if change == soonest]
    at = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    is_all = len(those) == len(open_groups or those)
    return {
        "utc": f"{at:%H:%M:%S}",
        "chicago": f"{at.astimezone(CHICAGO):%H:%M:%S}",
        "ms": now_ns // 1_000_000,
        "is_open": bool(open_groups),
        "open": len(open_groups),
        "groups": len(groups),
        "next": soonest[0],
        "event": soonest[1] if is_all else f"{', '.join(those)} {soonest[1].removesuffix('s')}",
    }


def clock_off_s(system: System) -> float:
    """Seconds by which the newest record is ahead of this machine's clock; NaN if it is not, as it should be."""
    hub = system.market.hub
    ahead_s = (hub.ts_last_record - hub.ts_ns) / 1e9 if hub else math.nan
    return ahead_s if ahead_s > 0 else math.nan


@lru_cache(maxsize=1)
def versions() -> list[tuple[str, str]]:
    """Names and versions of what runs here."""
    return [("rooney", __version__), ("Python", platform.python_version()), ("kernel", platform.release())]


def disk(place: Path) -> tuple[float, float] | None:
    """(free, total) GiB where the ledgers are; None where that cannot be told."""
    try:
        usage = shutil.disk_usage(place)
    except OSError:
        return None
    return usage.free / 2**30, usage.total / 2**30
