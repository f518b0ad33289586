"""Verbs that tell people: bars, what needs attention, reports, alerts."""

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rooney.cli.options import configured, instant, load
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError
from rooney.format import minute_text
from rooney.performance.report import notices, text

if TYPE_CHECKING:
    from rooney.market.messages import Bar


@click.command()
@click.argument("symbol", required=False)
@configured
@click.option("--timeframe", type=click.Choice(["1min", "hourly", "daily"]), default="1min", show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Print bars as they are published, until interrupted.")
@click.option("--count", "-n", default=10, show_default=True, help="Bars per instrument.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def bars(
    symbol: str | None,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    timeframe: str,
    follow: bool,
    count: int,
    as_json: bool,
) -> None:
    """Print published bars."""
    from rooney.bus.reader import Reader

    config = load(config_path, overrides, env_file)
    symbols = [symbol] if symbol else list(config.instruments())
    if symbol is not None and symbol not in config.instruments():
        raise ConfigError(f"instruments.{symbol}: no such instrument; configured are {', '.join(config.instruments())}")
    bus = Reader.to(config.data_hub())
    for one in symbols:
        for bar in bus.history(one, timeframe, count):
            _print_bar(bar, as_json)
    if follow:
        wanted = set(symbols)

        def on_bar(bar: "Bar") -> bool:
            if bar.symbol in wanted:
                _print_bar(bar, as_json)
            return True

        try:
            bus.listen(f"market:*:{timeframe}", on_bar)
        except KeyboardInterrupt:
            return


def _print_bar(bar: "Bar", as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(json.dumps(msgspec.structs.asdict(bar)))
        return
    name = f"{minute_text(bar.ts_open)} {bar.symbol:<4}{bar.contract:<7}{bar.timeframe:<7}"
    click.echo(f"{name}{bar.open:>12g} {bar.high:>12g} {bar.low:>12g} {bar.close:>12g} {bar.volume:>9d}")


@click.command()
@configured
@click.option("--json", "as_json", is_flag=True, help="Lines by kind, as JSON.")
def watch(config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, as_json: bool) -> None:
    """Say once what needs a person: stale, unknown, halted. Exit status 1 if anything does.

    With $STATE_DIRECTORY, as its unit has it, only what was not said in the last four hours. Where an alert sender is
    set up, it tells the rest, and what is watched is the sender.
    """
    from rooney import log
    from rooney.monitor.conditions import attention, sender
    from rooney.monitor.heartbeat import read_beat
    from rooney.monitor.watch import SENDER, look, news, read_said, write_said

    log.setup("watch")
    now_ns = time.time_ns()
    found = attention(look(load(config_path, overrides, env_file)), now_ns)
    found = sender(found, read_beat(Path(os.environ.get("ROONEY_ALERTS_DIRECTORY", SENDER))), now_ns)
    if directory := os.environ.get("STATE_DIRECTORY"):
        memory = Path(directory) / "said.json"
        found, said = news(found, read_said(memory), now_ns)
        write_said(memory, said)
    if as_json:
        click.echo(json.dumps(found))
    else:
        for line in found.values():
            log.event(logging.getLogger("rooney.monitor.watch"), logging.ERROR, "watch", line)
    sys.exit(EXIT_ATTENTION if found else EXIT_OK)


@click.command()
@click.argument("name", required=False)
@configured
@click.option("--day", help="Trade date (YYYY-MM-DD) [the last one that ended].")
@click.option("--week", is_flag=True, help="The week of that trade date [the last one that ended].")
@click.option("--html", type=click.Path(path_type=Path), help="Also as one file with plots: its name, or a folder.")
@click.option("--post", is_flag=True, help="Also to Slack and Discord, by the alert sender.")
@click.option(
    "--outbox", type=click.Path(path_type=Path), help="Where the sender looks [/var/lib/rooney-report/outbox]."
)
@click.option("--state", type=click.Path(path_type=Path), help="Directory of the ledgers [/var/lib/rooney].")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def report(
    name: str | None,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    day: str | None,
    week: bool,
    html: Path | None,
    post: bool,
    outbox: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Sum up a trade date or a week from the ledgers. Exit status 1 if one cannot be read."""
    import msgspec

    from rooney import log
    from rooney.market.instruments import group_of
    from rooney.paths import STATE_DIRECTORY
    from rooney.performance import period as summary
    from rooney.performance import report as reports

    log.setup("report")
    config, now_ns = load(config_path, overrides, env_file), time.time_ns()
    at = instant(day, "--day")
    wanted = at.date() if at else summary.last_ended(now_ns)
    period = summary.day_of(wanted)
    if week:
        period = summary.week_of(wanted) if at else summary.last_week_ended(now_ns)
    names = [config.strategy(name).name] if name else list(config.names)
    groups = {group_of(root) for root in config.file.instruments}
    found = reports.read(names, groups, period, state or STATE_DIRECTORY, now_ns)
    if as_json:
        shown = {
            one.name: {"lack": one.lack} if one.lack else {"day": one.day, "pace": one.pace, "trades": one.trades}
            for one in found
        }
        click.echo(
            json.dumps({"first": str(period.first), "last": str(period.last), "strategies": msgspec.to_builtins(shown)})
        )
    else:
        click.echo(text(period, found))
    if html is not None:
        from importlib.util import find_spec

        if find_spec("jinja2") is None:
            raise ConfigError("rooney report --html needs jinja2: install rooney[dashboard]")
        from rooney.dashboard.report import html as page

        path = html if html.suffix == ".html" else html / f"{period.name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(period, found, now_ns), encoding="utf-8")
        click.echo(f"{path}", err=True)
    if post:
        from rooney.alerts import outbox as sources

        sources.post(outbox or sources.REPORTS, sources.Posted(now_ns, notices(period, found)))
    sys.exit(EXIT_ATTENTION if any(one.lack and one.lack != "no ledger yet" for one in found) else EXIT_OK)


@click.command()
@click.argument("unit")
def alert(unit: str) -> None:
    """Say that a unit failed: in the journal, and to Slack or Discord where a credential leads. For OnFailure=."""
    import socket

    from rooney import log
    from rooney.alerts.on_failure import run

    log.setup("alert")
    sys.exit(run(unit, os.environ, socket.gethostname()))


@click.command()
@click.option("--known", is_flag=True, help="Take note of all that stands: it is repeated every 4 hours only.")
@click.option("--hours", default=24.0, show_default=True, help="What was over before that is left out.")
@click.option(
    "--book", "directory", type=click.Path(path_type=Path), help="Of the sender [/var/lib/rooney-alert-sender]."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def alerts(known: bool, hours: float, directory: Path | None, as_json: bool) -> None:
    """List alerts: what stands, what is over, and the messages that told so. Exit status 1 if anything stands."""
    import msgspec

    from rooney.alerts.incidents import word
    from rooney.alerts.process import BOOK
    from rooney.alerts.store import told
    from rooney.orders.control import KNOWN, control_directory

    if known:
        path = control_directory(os.environ) / KNOWN
        path.unlink(missing_ok=True)  # it may be another member's of the group
        path.touch(0o664)
    found = told((directory or Path("/var/lib/rooney-alert-sender")) / BOOK, time.time_ns() - int(hours * 3600e9))
    code = EXIT_ATTENTION if any(not one.ended_ns for one in found) else EXIT_OK
    if as_json:
        click.echo(json.dumps({"exit": code, "alerts": [msgspec.to_builtins(one) for one in found]}))
        sys.exit(code)
    for one in found:
        began = time.strftime("%m-%d %H:%M:%SZ", time.gmtime(one.began_ns // 1_000_000_000))
        state = "news" if one.is_news else "over" if one.ended_ns else "STANDS"
        where = f"  [#{one.messages.replace(' ', ' #')}]" if one.messages else "  (not told yet)"
        click.echo(f"{began}  {state:<7}{word(one.level):<6}{one.scope or 'system'}: {one.text}{where}")
    sys.exit(code)


VERBS: tuple[click.Command, ...] = (bars, watch, report, alert, alerts)
