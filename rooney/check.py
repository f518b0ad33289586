"""`rooney check`: what would stop a start, before it does; reads everything, changes nothing."""

from collections.abc import Callable
from pathlib import Path

from rooney import sessions
from rooney.build import build_engine
from rooney.bus import Bus
from rooney.config import Config
from rooney.errors import BusError, ConfigError, MessageError
from rooney.findings import CREDENTIAL_STORE, Finding, check_findings, table_findings


def findings(
    config: Config, *, online: bool, now_ns: Callable[[], int], store: Path = CREDENTIAL_STORE
) -> list[Finding]:
    """Configuration, credentials, strategy files, kernels, session table; with `online`, Redis, the hub, the clock."""
    found = check_findings(config, store)
    for name in config.names:
        found += _of_strategy(config, name)
    found += table_findings(sessions.trade_date(now_ns()))
    if online:
        found += _of_redis(config, now_ns)
    return list(dict.fromkeys(found))


def _of_strategy(config: Config, name: str) -> list[Finding]:
    """Whether the strategy's file loads, takes its parameters and compiles."""
    try:
        strategy = config.strategy(name)
        if strategy.settings.enabled:
            build_engine(strategy).compile()
    except ConfigError as error:
        path, _, text = str(error).partition(": ")
        return [Finding("error", path, text)]
    return []


def _of_redis(config: Config, now_ns: Callable[[], int]) -> list[Finding]:
    try:
        block = config.data_hub()
    except ConfigError:
        return []  # said already
    try:
        bus = Bus.to(block)
        bus.ping()
        status = bus.status()
    except (BusError, MessageError) as error:
        return [Finding("warning", "data_hub", f"{error}; hub and workers will wait for it")]
    if status is None:
        return [Finding("note", "data_hub", "no hub is running")]
    if status.state != "live":
        return [Finding("warning", "data_hub", f"the hub says: {status.state}")]
    ahead_s = (status.ts_last_record - now_ns()) / 1e9
    if ahead_s > 1:
        text = f"the newest record is {ahead_s:.1f} s ahead of this machine's clock; check time synchronisation"
        return [Finding("warning", "clock", text)]
    return []
