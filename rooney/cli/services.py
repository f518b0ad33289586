"""Verbs that run until they are told to end: what the units start, and the demo."""

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Protocol

import click

from rooney.cli.options import configured, instant, load
from rooney.errors import ConfigError


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


@click.command()
@configured
@click.option("--start", help="Where an empty tape begins (ISO time, UTC) [the open of the session].")
def hub(config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, start: str | None) -> None:
    """Receive trades, build bars, publish them."""
    from rooney import log
    from rooney.hub.process import build

    log.setup("hub")
    # The client logs each of thousands of mappings; what matters of it is logged by the feed.
    logging.getLogger("databento").setLevel(logging.WARNING)
    begin = instant(start, "--start")
    start_ns = int(begin.timestamp()) * 1_000_000_000 if begin else None
    _run(build(load(config_path, overrides, env_file), start_ns=start_ns))


@click.command()
@click.argument("name")
@configured
@click.option("--state", type=click.Path(path_type=Path), help="Directory of the ledger [$STATE_DIRECTORY].")
@click.option("--clock", type=click.Choice(["live", "replay"]), default="live", help="Time: the wall's or the tape's.")
def worker(
    name: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    state: Path | None,
    clock: str,
) -> None:
    """Run one strategy."""
    from rooney import log
    from rooney.worker.process import build

    log.setup("worker", name)
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    directory = state or (Path(given) if given else Path("/var/lib/rooney") / name)
    _run(build(load(config_path, overrides, env_file), name, state=directory, replay=clock == "replay"))


@click.command()
@configured
@click.option("--state-directory", "state", type=click.Path(path_type=Path), help="As of `rooney orders`.")
@click.option("--clock", type=click.Choice(["live", "replay"]), default="live", help="Time: the wall's or the tape's.")
def dashboard(
    config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, state: Path | None, clock: str
) -> None:
    """Show everything in a browser, read only, on the socket systemd passes or on the configured port of 127.0.0.1.

    Also /metrics (OpenMetrics) and /healthz.
    """
    from importlib.util import find_spec

    if missing := [name for name in ("starlette", "uvicorn", "jinja2") if find_spec(name) is None]:
        raise ConfigError(f"rooney dashboard needs {' and '.join(missing)}: install rooney[dashboard]")
    from rooney import log
    from rooney.dashboard.process import DashboardProcess
    from rooney.monitor.system import Looker
    from rooney.orders.control import control_directory
    from rooney.paths import state_directory
    from rooney.systemd import Notifier

    log.setup("dashboard")
    config = load(config_path, overrides, env_file)
    places = state_directory(state, os.environ), control_directory(os.environ)
    _run(DashboardProcess(config, Looker(config, *places, replay=clock == "replay"), Notifier()))


@click.command("alert-sender")
@configured
@click.option("--state-directory", "state", type=click.Path(path_type=Path), help="As of `rooney orders`.")
@click.option("--book", "directory", type=click.Path(path_type=Path), help="Its own directory [$STATE_DIRECTORY].")
@click.option("--reports", type=click.Path(path_type=Path), help="A report's outbox [/var/lib/rooney-report/outbox].")
def alert_sender(
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    state: Path | None,
    directory: Path | None,
    reports: Path | None,
) -> None:
    """Tell people, on Slack and Discord, what ledgers and a look at everything have for them. Only reads."""
    from rooney import log
    from rooney.alerts.outbox import REPORTS
    from rooney.alerts.process import Sender, level_of
    from rooney.alerts.routing import routes
    from rooney.bus.reader import Reader
    from rooney.monitor.system import Looker
    from rooney.orders.control import control_directory
    from rooney.paths import state_directory
    from rooney.secrets import credentials_directory
    from rooney.systemd import Notifier

    log.setup("alert-sender")
    config = load(config_path, overrides, env_file)
    credentials = credentials_directory(os.environ)
    found, lacks = routes(config, credentials)
    ping = None
    try:
        ping = config.alert_target("", "ping", credentials)
    except ConfigError as error:
        lacks.append(str(error))
    control = control_directory(os.environ)
    own = directory or Path(os.environ.get("STATE_DIRECTORY", "").split(":")[0] or "/var/lib/rooney-alert-sender")
    sender = Sender(
        found,
        lacks,
        ping,
        level_of(config.alerts().level),
        Looker(config, state_directory(state, os.environ), control),
        Reader.to(config.data_hub(), timeout_s=1.0),
        control,
        reports or REPORTS,
        own,
        Notifier(),
    )
    _run(sender)


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Replay trades: Parquet, DBN, or a folder.")
@click.option("--speed", default="max", show_default=True, help="Market seconds per second, or max.")
@click.option("--minutes", type=click.IntRange(min=1), help="Stop after so many minutes of market time.")
@click.option("--seed", default=0, show_default=True, help="Seed of the synthetic market.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep bars, ledgers, webhooks and summary here.")
@click.option("--bundles", type=click.Path(path_type=Path, exists=True, file_okay=False), help="With DIR/ibs, …")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, last.")
def demo(
    data: Path | None,
    speed: str,
    minutes: int | None,
    seed: int,
    out: Path | None,
    bundles: Path | None,
    as_json: bool,
) -> None:
    """Run the whole system here, without any account; ends by itself."""
    from rooney.sim.demo_plan import Options
    from rooney.sim.demo_ui import run_demo

    try:
        pace = 0.0 if speed == "max" else float(speed)
    except ValueError as error:
        raise ConfigError(f"--speed: expected max or a number above 0, got {speed!r}") from error
    if speed != "max" and not 0 < pace < 1e9:
        raise ConfigError(f"--speed: expected max or a number above 0, got {speed!r}")
    sys.exit(run_demo(Options(data, pace, minutes, seed, out, as_json, bundles)))


VERBS: tuple[click.Command, ...] = (hub, worker, dashboard, alert_sender, demo)
