"""`rooney check`: what would stop a start, before it does; reads everything, changes nothing."""

from collections.abc import Callable
from pathlib import Path

from rooney.bus.reader import Reader
from rooney.config.check import Finding, check_findings, table_findings
from rooney.config.loader import Config
from rooney.engine.build import build_engine
from rooney.engine.model_checks import model_findings
from rooney.errors import EXIT_ATTENTION, EXIT_CONFIG, EXIT_OK, BusError, ConfigError, MessageError
from rooney.files import read_text
from rooney.market import sessions
from rooney.market.instruments import is_open
from rooney.market.messages import HubStatus
from rooney.ops import compile as precompile
from rooney.paths import CREDENTIAL_STORE
from rooney.strategy import aot as ahead
from rooney.systemd import asked

CACHES = Path("/var/cache/rooney")  # of the units (CacheDirectory=)
CLOCK_AHEAD_S = 60.0  # a minute in session without any record, and without a heartbeat, is not a quiet market


def findings(
    config: Config, *, online: bool, now_ns: Callable[[], int], store: Path = CREDENTIAL_STORE
) -> list[Finding]:
    """Configuration, credentials, strategy files, kernels, session table; with `online`, Redis, the hub, the clock."""
    found = check_findings(config, store)
    for name in config.names:
        found += _of_strategy(config, name)
    found += table_findings(sessions.trade_date(now_ns()), config.file.instruments)
    if online:
        found += _of_redis(config, now_ns) + _of_clock()
    return list(dict.fromkeys(found))


def code(found: list[Finding]) -> int:
    """Exit status: 78 for what would stop a start, attention for what is away and may come, else 0."""
    if any(finding.level == "error" for finding in found):
        return EXIT_CONFIG
    is_away = any(finding.level == "warning" and finding.path in ("data_hub", "clock") for finding in found)
    return EXIT_ATTENTION if is_away else EXIT_OK


def _of_strategy(config: Config, name: str) -> list[Finding]:
    """Findings about a strategy whose file does not load, take its parameters or compile."""
    try:
        strategy = config.strategy(name)
        if strategy.settings.enabled:
            engine = build_engine(strategy)
            step = engine.compiled.module.__name__
            if not is_compiled(name, step):
                engine.compile()
            engine.compiled.instance()
            return [*model_findings(strategy), *of_drop_in(name, step)]
    except ConfigError as error:
        path, _, text = str(error).partition(": ")
        return [Finding("error", path, text)]
    return []


def is_compiled(name: str, step: str, caches: Path = CACHES) -> bool:
    """True if a strategy's worker finds its step in its cache: then its rules compile. step: the name of the module."""
    return any((caches / name / "numba").rglob(f"{step}.step-*.nbc"))


def of_drop_in(name: str, step: str, units: Path = precompile.UNITS) -> list[Finding]:
    """Finding about a worker that will not find its step compiled ahead of time. step: the name of its module."""
    path = precompile.drop_in_path(name, units)
    directory = ahead.directory_of(read_text(path)) if path.is_file() else None
    if directory is None or ahead.extension_path(directory, step).is_file():
        return []
    text = (
        f"{path} names {directory}, where no step matches the strategy, its lengths and these kernels: its "
        f"worker will refuse to start; `rooney compile {name}` makes it"
    )
    return [Finding("error", f"strategies.{name}", text)]


def _of_redis(config: Config, now_ns: Callable[[], int]) -> list[Finding]:
    try:
        block = config.data_hub()
    except ConfigError:
        return []  # said already
    try:
        bus = Reader(block)
        bus.ping()
        status = bus.status()
    except (BusError, MessageError) as error:
        return [Finding("warning", "data_hub", f"{error}; hub and workers will wait for it")]
    found = _of_settings(bus)
    if status is None:
        return [*found, Finding("note", "data_hub", "no hub is running")]
    if status.state != "live":
        return [*found, Finding("warning", "data_hub", f"the hub says: {status.text}")]
    return found + _of_feed(config, status, now_ns)


def _of_settings(bus: Reader) -> list[Finding]:
    """Findings about a Redis that may lose what it was given; none where its user may not ask."""
    try:
        info = bus.info()
    except BusError:
        return []
    found = []
    if info.is_evicting:
        text = "this Redis drops keys when it is full, a whole tape at a time: set maxmemory-policy noeviction"
        found.append(Finding("warning", "data_hub", text))
    if not info.is_durable:
        text = "this Redis keeps nothing over a restart: set appendonly yes (systemd/redis/rooney.conf)"
        found.append(Finding("warning", "data_hub", text))
    return found


def _of_feed(config: Config, status: HubStatus, now_ns: Callable[[], int]) -> list[Finding]:
    """Clock and feed, each judged by the other."""
    ahead_s = (status.ts_last_record - now_ns()) / 1e9
    in_session = any(is_open(root, now_ns()) for root in config.file.instruments)
    if in_session and -ahead_s > CLOCK_AHEAD_S:
        text = (
            f"the newest record is {-ahead_s:.0f} s old, in session: this machine's clock is ahead, or the feed is late"
        )
        return [Finding("warning", "clock", text)]
    if ahead_s > 1:
        text = f"the newest record is {ahead_s:.1f} s ahead of this machine's clock; check time synchronisation"
        return [Finding("warning", "clock", text)]
    return []


def _of_clock() -> list[Finding]:
    """Finding about this machine's clock, by systemd; none where there is no systemd to ask."""
    if asked("timedatectl", "show", "--property=NTPSynchronized", "--value").strip() != "no":
        return []
    return [Finding("warning", "clock", "is not synchronised (timedatectl): enable systemd-timesyncd or chrony")]
