"""The alert sender's process: looks, takes what the outboxes have, and sends. It only reads what belongs to others.

One thread per channel, so that a service that hangs delays no other; a worker never waits for any of this.
"""

import contextlib
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rooney import log
from rooney.alerts import outbox as sources
from rooney.alerts import services
from rooney.alerts.dead_mans_switch import DeadMansSwitch
from rooney.alerts.message import Message, compose
from rooney.alerts.routing import Routes, recipients
from rooney.alerts.services import Verdict
from rooney.alerts.store import Book
from rooney.alerts.thresholds import Found, Sample, Thresholds
from rooney.alerts.timing import Steady, is_due, pending
from rooney.bus.reader import Reader
from rooney.errors import EXIT_OK, BusError, LedgerError
from rooney.ledger.reader import read_pace
from rooney.monitor.conditions import Condition, Severity, conditions
from rooney.monitor.heartbeat import Beat, write_beat
from rooney.monitor.system import Looker, System
from rooney.orders.control import KNOWN
from rooney.orders.notices import Notice, Turn
from rooney.paths import ledger_path
from rooney.secrets import Secret
from rooney.systemd import Notifier
from rooney.systemd import interval as watchdog_interval_s

logger = logging.getLogger(__name__)

BOOK = "book.sqlite"
TURN_S = 0.5
LOOK_S = 5.0
SAMPLE_S = 60.0
FAILING_S = 600.0  # a channel that takes nothing for so long is told by another way
STOP_S = 5.0
_LEVELS = {Severity.NOTE: log.NOTICE, Severity.ATTENTION: logging.WARNING, Severity.CRITICAL: logging.CRITICAL}


class _Line:
    """A channel's thread, and what is known of it."""

    def __init__(
        self, send: Callable[[Message, int], Verdict], answers: "queue.SimpleQueue[tuple[Message, Verdict]]"
    ) -> None:
        self.tries = 0
        self.not_before_ns = 0
        self.last_ns = 0
        self.failing_ns = 0  # since when
        self.why = ""
        self.is_busy = False
        self._send = send
        self._answers = answers
        self._todo: queue.SimpleQueue[tuple[Message, int]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="channel", daemon=True).start()

    def put(self, message: Message) -> None:
        """Send it."""
        self.is_busy = True
        self._todo.put((message, self.tries))

    def _run(self) -> None:
        while True:
            message, tries = self._todo.get()
            try:
                verdict = self._send(message, tries)
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the alert is tried again
                verdict = Verdict("later", f"failed ({type(error).__name__})", services.back_off_s(tries))
            self._answers.put((message, verdict))


class Sender:
    """`run()` returns the exit status. state: of the ledgers; reports: a report's outbox; directory: its own."""

    def __init__(
        self,
        routes: Routes,
        lacks: list[str],
        ping: Secret | None,
        level: int,
        looker: Looker,
        bus: Reader,
        control: Path,
        reports: Path,
        directory: Path,
        notifier: Notifier,
    ) -> None:
        self._routes = routes
        self._lacks = lacks
        self._level = level
        self._looker = looker
        self._bus = bus
        self._known_file = control / KNOWN
        self._reports = reports
        self._directory = directory
        self._notifier = notifier
        self._book = Book(directory / BOOK, level)
        self._answers: queue.SimpleQueue[tuple[Message, Verdict]] = queue.SimpleQueue()
        self._lines = {key: _Line(self._sending(key), self._answers) for key in routes.channels}
        self._thresholds = Thresholds()
        self._steady = Steady(self._book.seen(), time.time_ns())
        self._signatures: dict[Path, object] = {}
        self._stop = threading.Event()
        self._next_look = self._next_sample = 0.0
        self._dead_mans_switch = DeadMansSwitch(ping)
        self._recipients: dict[int, tuple[str, ...]] = {}

    def stop(self) -> None:
        """End; what is on its way and not answered goes out again at the next start."""
        self._stop.set()

    def run(self) -> int:
        """Until stopped."""
        names = ", ".join(channel.label for channel in self._routes.channels.values())
        log.event(logger, log.NOTICE, "start", f"alerts go to {names or 'the journal only: no channel is set up'}")
        for lack in self._lacks:
            log.event(logger, logging.ERROR, "alert", lack)
        interval_s, next_ping = watchdog_interval_s() or 10.0, 0.0
        self._notifier.ready()
        while not self._stop.is_set():
            if time.monotonic() >= next_ping:
                self._notifier.watchdog()
                next_ping = time.monotonic() + interval_s
            self.turn()
            self._stop.wait(TURN_S)
        self._notifier.stopping()
        end = time.monotonic() + STOP_S
        while any(line.is_busy for line in self._lines.values()) and time.monotonic() < end:
            self._take_answers(time.time_ns())
            time.sleep(0.05)
        self._book.close()
        return EXIT_OK

    def turn(self) -> None:
        """Look, collect and tell, if it is time."""
        now_ns, mono_s = time.time_ns(), time.monotonic()
        if mono_s >= self._next_look:
            self._next_look = mono_s + LOOK_S
            self._look(now_ns, mono_s)
            self._say(now_ns)
        self._collect()
        self._take_answers(now_ns)
        self._tell(now_ns)
        self._dead_mans_switch.turn(mono_s)

    # ── what there is to tell ──

    def _look(self, now_ns: int, mono_s: float) -> None:
        system = self._looker.look()
        if mono_s >= self._next_sample:
            self._next_sample = mono_s + SAMPLE_S
            self._thresholds.add(self._sample(system, now_ns))
        found: Found = {("", f"alerts {lack.partition(':')[0]}"): _error(lack) for lack in self._lacks}
        found |= {_key(one, system): _notice(one) for one in reversed(conditions(system))}
        found |= self._thresholds.found()
        grave = {key: notice for key, notice in found.items() if notice.level >= self._level}
        for scope, notice in self._book.see(self._steady.look(grave, now_ns), now_ns):
            over = "over: " if notice.turn is Turn.ENDS else ""
            level = log.NOTICE if over else notice.level
            log.event(logger, level, "condition", f"{scope or 'system'}: {over}{notice.text}", symbol=notice.symbol)

    def _sample(self, system: System, now_ns: int) -> Sample:
        info, ping_s = system.market.info, 0.0
        with contextlib.suppress(BusError):
            begin = time.perf_counter()
            self._bus.ping()
            ping_s = time.perf_counter() - begin
        redis = (info.used_bytes, info.limit_bytes, info.clients, info.clients_limit) if info else None
        memory = {
            unit.removesuffix(".service"): use.memory_bytes for unit, use in system.usage.items() if "hub" in unit
        }
        paces = {}
        day = system.trade_date.isoformat()
        for one in system.strategies:
            if one.snapshot is not None and one.is_running:
                memory[f"worker {one.name}"] = int(one.snapshot.rss_mb * 2**20)
                with contextlib.suppress(LedgerError):
                    paces[one.name] = read_pace(ledger_path(self._looker.state, one.name), day, day).get(day, {})
        if info is not None:
            memory["Redis"] = info.used_bytes
        known = {name: used for name, used in memory.items() if used is not None}
        try:
            disk = shutil.disk_usage(self._looker.state)
            free = disk.free / disk.total if disk.total else 1.0
        except OSError:
            free = 1.0
        return Sample(now_ns, redis, ping_s, known, paces, free)

    def _collect(self) -> None:
        """Take what outboxes have; one that has not changed costs two `stat` calls."""
        for path in sorted(self._looker.state.glob("*/ledger.sqlite")):
            signature = [_stamp(path), _stamp(path.with_name(path.name + "-wal"))]
            if signature == self._signatures.get(path):
                continue
            name = path.parent.name
            try:
                while True:
                    after = self._book.cursor(f"ledger {name}")
                    found, seq = sources.of_ledger(path, name, after)
                    if seq == after:
                        break
                    self._book.take(f"ledger {name}", seq, found)
            except LedgerError as error:  # it is a condition too; the ledger is read again next time
                logger.debug("%s", error)
                continue
            self._signatures[path] = signature
        after = self._book.cursor("reports")
        found, made_ns = sources.of_directory(self._reports, after)
        if made_ns != after:
            self._book.take("reports", made_ns, found)

    # ── telling ──

    def _tell(self, now_ns: int) -> None:
        book = self._book
        troubles = list(book.troubles.values())
        self._recipients = recipients(self._routes, troubles, book.disabled)
        book.settle(self._recipients, now_ns)
        known_ns = _mtime_ns(self._known_file)
        for key, line in self._lines.items():
            if line.is_busy or now_ns < line.not_before_ns or key in book.disabled:
                continue
            message = book.messages.get(key)
            if message is None:
                mine = [one for one in troubles if key in self._recipients[one.id]]
                items = pending(mine, key, now_ns, known_ns)
                if not is_due(items, line.last_ns, now_ns):
                    continue
                message, told = compose(items, key, now_ns)
                book.keep(message, told)
            line.put(message)

    def _sending(self, key: str) -> Callable[[Message, int], Verdict]:
        channel = self._routes.channels[key]
        return lambda message, tries: services.post(channel.service, channel.url, message.text, tries)

    def _take_answers(self, now_ns: int) -> None:
        while not self._answers.empty():
            message, verdict = self._answers.get()
            key, line = message.channel, self._lines[message.channel]
            label = self._routes.channels[key].label
            line.is_busy = False
            line.not_before_ns = now_ns + int(verdict.pause_s * 1e9)
            if verdict.result == "taken":
                self._book.delivered(message)
                if line.failing_ns:
                    log.event(logger, log.NOTICE, "alert", f"{label} takes messages again")
                line.tries, line.failing_ns, line.why, line.last_ns = 0, 0, "", now_ns
                log.event(logger, logging.INFO, "alert", f"{label} took #{message.number}")
                continue
            line.tries += 1
            if verdict.result == "later":
                if not line.failing_ns:
                    line.failing_ns = now_ns
                    log.event(
                        logger, logging.ERROR, "alert", f"{label}: #{message.number} {verdict.why}; it is tried again"
                    )
                line.why = verdict.why
                continue
            if verdict.result == "gone":
                self._book.disable(key, verdict.why)
                what = "is switched off until it gets another URL; its alerts go to the other channels"
            else:
                what = "refused this message for good"
            self._book.delivered(message)
            line.tries = 0
            text = f"{label} {what} ({verdict.why}). It was to be told:\n{message.text}"
            log.event(logger, log.ALERT, "alert", text)

    def _say(self, now_ns: int) -> None:
        """Tell systemd and `rooney watch` how it stands."""
        failing = {
            self._routes.channels[key].label: why
            for key, why in self._book.disabled.items()
            if key in self._routes.channels
        }
        for key, line in self._lines.items():
            if line.failing_ns and now_ns - line.failing_ns > FAILING_S * 1e9:
                failing[self._routes.channels[key].label] = line.why
        failing |= {lack.partition(":")[0]: lack for lack in self._lacks}
        write_beat(self._directory, Beat(now_ns, failing))
        standing = sum(not one.ended_ns for one in self._book.troubles.values())
        channels = f"{len(self._lines) - len(self._book.disabled.keys() & self._lines.keys())} channels"
        trouble = f", NOT reached: {', '.join(failing)}" if failing else ""
        self._notifier.status(
            f"{standing} stand, {len(self._book.messages)} messages on their way, {channels}{trouble}"
        )


def level_of(name: str) -> int:
    """A level of the log by its name in the configuration."""
    return log.NOTICE if name == "notice" else int(logging.getLevelNamesMapping()[name.upper()])


def _error(text: str) -> Notice:
    return Notice(f"alerts {text.partition(':')[0]}", Turn.BEGINS, logging.ERROR, text)


def _key(one: Condition, system: System) -> tuple[str, str]:
    """(scope, about): a strategy's, or common to all."""
    is_strategy = any(one.about == strategy.name for strategy in system.strategies)
    return (one.about if is_strategy else "", one.kind)


def _notice(one: Condition) -> Notice:
    text = one.text.removeprefix(f"{one.about}: ") + (f". Next: {' | '.join(one.do)}" if one.do else "")
    return Notice(one.kind, Turn.BEGINS, _LEVELS[one.severity], text)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _mtime_ns(path: Path) -> int:
    found = _stamp(path)
    return found[2] if found else 0
