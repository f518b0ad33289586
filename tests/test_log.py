"""Log lines on a terminal, fields in the journal, secrets in neither."""

import fcntl
import io
import logging
import re
import subprocess
import sys
import warnings

import pytest

from rooney import log
from tests.support.journal import Journal

pytestmark = pytest.mark.usefixtures("restored")

SECRET_URL = "https://webhooks.traderspost.io/trading/webhook/0f3b6c1e-90aa-4a55/s3cret"
SECRET_KEY = "db-" + "aB3" * 9 + "xy"


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    log.setup("worker", "ibs", stream=stream)
    return stream


logger = logging.getLogger("rooney.test")


def test_a_line_reads_time_level_process_event_text(lines: io.StringIO) -> None:
    log.event(logger, log.NOTICE, "order", "buy 1 ES at 5321.25 (100%)", symbol="ES", intent="0123456789abcdef")
    when, rest = lines.getvalue().split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", when)
    assert rest == "NOTE  worker ibs  order  buy 1 ES at 5321.25 (100%)  symbol=ES  intent=0123456789abcdef\n"


def test_a_plain_log_call_shows_its_logger(lines: io.StringIO) -> None:
    logger.info("%d bars", 3)
    assert lines.getvalue().split(" ", 1)[1] == "INFO  worker ibs  rooney.test  3 bars\n"


def test_a_process_without_a_strategy_has_no_gap_in_its_line() -> None:
    stream = io.StringIO()
    log.setup("hub", stream=stream)
    logger.warning("late")
    assert " WARN  hub  rooney.test  late\n" in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "word", "priority"),
    [
        (50, "CRIT", 2),
        (40, "ERROR", 3),
        (30, "WARN", 4),
        (25, "NOTE", 5),
        (20, "INFO", 6),
        (10, "DEBUG", 7),
        (22, "INFO", 6),
    ],
)
def test_levels_are_the_journals(level: int, word: str, priority: int, journal: Journal) -> None:
    stream = io.StringIO()
    log.setup("hub", level=logging.DEBUG, stream=stream)
    logger.log(level, "x")
    assert f" {word:<5} hub" in stream.getvalue()
    log.setup("hub", level=logging.DEBUG)
    logger.log(level, "x")
    assert journal.read()["PRIORITY"] == str(priority)


def test_setting_up_again_replaces(lines: io.StringIO) -> None:
    second = io.StringIO()
    log.setup("worker", "breakout", stream=second)
    logger.info("once")
    assert lines.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_the_level_holds(lines: io.StringIO) -> None:
    logger.debug("hidden")
    assert lines.getvalue() == ""


def test_the_journal_gets_fields(journal: Journal) -> None:
    log.setup("worker", "ibs")
    log.event(logger, logging.CRITICAL, "unconfirmed", "entry may be live", symbol="ES", intent="0123")
    assert journal.read() == {
        "MESSAGE": "entry may be live",
        "PRIORITY": "2",
        "SYSLOG_IDENTIFIER": "rooney-worker-ibs",
        "ROONEY_COMPONENT": "worker",
        "ROONEY_STRATEGY": "ibs",
        "ROONEY_EVENT": "unconfirmed",
        "ROONEY_SYMBOL": "ES",
        "ROONEY_INTENT": "0123",
        "MESSAGE_ID": log.message_id("unconfirmed"),
    }


def test_empty_fields_are_left_out(journal: Journal) -> None:
    log.setup("hub")
    logger.info("plain")
    fields = journal.read()
    assert {"ROONEY_STRATEGY", "ROONEY_EVENT", "MESSAGE_ID"}.isdisjoint(fields)


def test_a_message_id_is_fixed() -> None:
    assert log.message_id("order") == "9939694ed0b35549a57525e5ffe0af0a"


def test_a_traceback_arrives_whole(journal: Journal) -> None:
    log.setup("hub")
    try:
        raise ValueError("bad\nbar")
    except ValueError:
        logger.exception("stopped")
    message = journal.read()["MESSAGE"]
    assert message.startswith("stopped\nTraceback")
    assert message.endswith("ValueError: bad\nbar")


def test_what_is_too_large_for_a_datagram_goes_by_sealed_memfd(journal: Journal) -> None:
    log.setup("hub")
    logger.info("x" * 3_000_000)
    assert len(journal.read()["MESSAGE"]) == 3_000_000
    assert journal.sealed == fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def test_a_journal_that_went_away_leaves_the_line_on_stderr(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup("hub")
    journal.socket.close()
    logger.error("still said")
    assert re.fullmatch(r"<3>.*ERROR hub  rooney\.test  still said\n", capsys.readouterr().err)


def test_a_journal_that_hangs_loses_records_not_time(journal: Journal) -> None:
    log.setup("hub")
    for _ in range(2000):
        logger.info("x" * 1000)
        handler = next(h for h in logging.getLogger().handlers if isinstance(h, log.JournalHandler))
        if handler.lost:
            break
    assert handler.lost == 1


@pytest.mark.parametrize("stream", ["", "1:1"])
def test_another_journal_stream_means_lines(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", stream)
    log.setup("hub")
    assert not any(isinstance(handler, log.JournalHandler) for handler in logging.getLogger().handlers)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"POST {SECRET_URL} failed", "POST <webhook> failed"),
        (f"url: {SECRET_URL.partition('.io')[2]} (Caused by x)", "url: <webhook> (Caused by x)"),
        (f"{{'url': '{SECRET_URL}'}}", "{'url': '<webhook>'}"),
        (f"key={SECRET_KEY}", "key=<key>"),
        ("db-short and /trading/hours", "db-short and /trading/hours"),
    ],
)
def test_redact_takes_out_webhooks_and_keys(text: str, clean: str) -> None:
    assert log.redact(text) == clean


def test_no_secret_reaches_a_line_by_message_argument_field_or_traceback(lines: io.StringIO) -> None:
    logger.info("to %s with %s", SECRET_URL, SECRET_KEY)
    log.event(logger, logging.INFO, "order", SECRET_URL, symbol=SECRET_KEY)
    try:
        raise ConnectionError(f"{SECRET_URL} refused")
    except ConnectionError:
        logger.exception("failed")
    assert "s3cret" not in lines.getvalue()
    assert SECRET_KEY not in lines.getvalue()
    assert lines.getvalue().count("<webhook>") == 3


def test_no_secret_reaches_the_journal(journal: Journal) -> None:
    log.setup("hub")
    log.event(logger, logging.INFO, "order", SECRET_URL, symbol=SECRET_KEY, exc_info=ConnectionError(SECRET_URL))
    fields = "".join(journal.read().values())
    assert "s3cret" not in fields
    assert SECRET_KEY not in fields


def test_a_record_that_cannot_be_formatted_is_reported_without_its_arguments(
    lines: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    record = logger.makeRecord("rooney.test", logging.INFO, "file", 7, "%d bars", (SECRET_URL,), None)
    next(h for h in logging.getLogger().handlers if isinstance(h, log.LineHandler)).handle(record)
    assert capsys.readouterr().err == "log record of rooney.test line 7 lost: TypeError\n"
    assert "s3cret" not in lines.getvalue()


def test_warnings_come_as_lines(lines: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    assert "py.warnings" in lines.getvalue()


@pytest.mark.parametrize("where", ["raise", "threading.Thread(target=fail).start()"])
def test_an_uncaught_exception_is_one_redacted_event(where: str) -> None:
    program = (
        "import threading\nfrom rooney import log\nlog.setup('hub')\n"
        f"def fail(): raise ValueError({SECRET_URL!r})\n"
        f"{'fail()' if where == 'raise' else where}\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert "ERROR hub  uncaught  ValueError was not caught\nTraceback" in ended.stderr
    assert "s3cret" not in ended.stderr
