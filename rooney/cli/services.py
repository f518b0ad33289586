"""Verbs that run until they are told to end: what the units start, and the demo."""

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Protocol

import click

from rooney import log
from rooney.cli.options import EXISTING, FOLDER, PATH, Call, instant_ns, needs, takes
from rooney.errors import ConfigError
from rooney.paths import STATE_DIRECTORY, control_directory
from rooney.systemd import Notifier


class _Process(Protocol):
    def run(self) -> int: ...
    def stop(self) -> None: ...


def _run(process: _Process) -> None:
    """Run until done; SIGTERM and SIGINT end it cleanly."""

    def end(signum: int, frame: FrameType | None) -> None:
        process.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    sys.exit(process.run())


def _own_directory(given: Path | None, installed: Path) -> Path:
    """Directory a process writes in: the option's, else the first of $STATE_DIRECTORY, else the installed one."""
    unit = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return given or (Path(unit) if unit else installed)


@click.command()
@click.option("--start", help="Where an empty tape begins (ISO time, UTC) [the open of the session].")
@takes("config")
def hub(call: Call, start: str | None) -> None:
    """Receive trades, build bars, publish them."""
    from rooney.hub.process import build

    log.setup("hub")
    # The client logs each of thousands of mappings; what matters of it is logged by the feed.
    logging.getLogger("databento").setLevel(logging.WARNING)
    _run(build(call.load(), start_ns=instant_ns(start, "--start")))


@click.command()
@click.argument("name")
@click.option("--state", "directory", type=PATH, hidden=True, help="Directory of the ledger itself.")
@takes("config", "state", "clock")
def worker(call: Call, name: str, directory: Path | None) -> None:
    """Run one strategy. Its ledger is in STATE/NAME, or in $STATE_DIRECTORY where its unit gives one."""
    from rooney.worker.process import build

    log.setup("worker", name)
    given = directory or (call.state and call.state / name)
    # The control folder beside it: a copy has its own, whichever option names it.
    control = control_directory(given and given.parent, os.environ)
    state = _own_directory(given, STATE_DIRECTORY / name)
    _run(build(call.load(), name, state=state, control=control, replay=call.is_replay))


@click.command()
@takes("config", "state", "clock")
def dashboard(call: Call) -> None:
    """Show everything in a browser, read only, on the socket systemd passes or on the configured port of 127.0.0.1.

    Also /metrics (OpenMetrics) and /healthz.
    """
    needs("dashboard", "starlette", "uvicorn", "jinja2", extras="dashboard")
    from rooney.dashboard.process import DashboardProcess

    log.setup("dashboard")
    config = call.load()
    _run(DashboardProcess(config, call.looker(config), Notifier()))


@click.command("alert-sender")
@click.option("--book", "directory", type=PATH, help="Its own directory [$STATE_DIRECTORY].")
@click.option("--reports", type=PATH, help="A report's outbox [/var/lib/rooney-report/outbox].")
@takes("config", "state")
def alert_sender(call: Call, directory: Path | None, reports: Path | None) -> None:
    """Tell people, on Slack and Discord, what ledgers and a look at everything have for them. Only reads."""
    from rooney.alerts.outbox import REPORTS
    from rooney.alerts.process import Sender, level_of
    from rooney.alerts.routing import routes
    from rooney.bus.reader import Reader
    from rooney.secrets import credentials_directory

    log.setup("alert-sender")
    config = call.load()
    credentials = credentials_directory(os.environ)
    targets, lacks = routes(config, credentials)
    ping = None
    try:
        ping = config.alert_target("", "ping", credentials)
    except ConfigError as error:
        lacks.append(str(error))
    sender = Sender(
        targets,
        lacks,
        ping,
        level_of(config.alerts().level),
        call.looker(config),
        Reader(config.data_hub(), timeout_s=1.0),
        call.control,
        reports or REPORTS,
        _own_directory(directory, Path("/var/lib/rooney-alert-sender")),
        Notifier(),
    )
    _run(sender)


@click.command()
@click.option("--data", type=EXISTING, help="Replay trades: Parquet, DBN, or a folder.")
@click.option("--speed", help="Market seconds per second, or max [max; 300 with --dashboard].")
@click.option("--minutes", type=click.IntRange(min=1), help="Stop after so many minutes of market time.")
@click.option("--seed", default=0, show_default=True, help="Seed of the synthetic market.")
@click.option("--out", type=PATH, help="Leave a state folder here: configuration, ledgers, bars, webhooks.")
@click.option("--bundles", type=FOLDER, help="With DIR/ibs, …")
@click.option("--dashboard", "pages", is_flag=True, help="Show the dashboard while it streams.")
@takes("json")
def demo(
    call: Call,
    data: Path | None,
    speed: str | None,
    minutes: int | None,
    seed: int,
    out: Path | None,
    bundles: Path | None,
    pages: bool,
) -> None:
    """Run the whole system here, without any account; ends by itself."""
    from rooney.sim.demo_plan import Options
    from rooney.sim.demo_ui import run_demo

    speed = speed or ("300" if pages else "max")
    try:
        pace = 0.0 if speed == "max" else float(speed)
    except ValueError as error:
        raise ConfigError(f"--speed: expected max or a number above 0, got {speed!r}") from error
    if speed != "max" and not 0 < pace < 1e9:
        raise ConfigError(f"--speed: expected max or a number above 0, got {speed!r}")
    sys.exit(run_demo(Options(data, pace, minutes, seed, out, call.as_json, bundles, pages)))


VERBS: tuple[click.Command, ...] = (hub, worker, dashboard, alert_sender, demo)
