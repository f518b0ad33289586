"""Verbs that tell people: bars, what needs attention, reports, alerts."""

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rooney import log
from rooney.cli.options import PATH, TIMEFRAME, Call, formerly, instant, needs, takes
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError

if TYPE_CHECKING:
    from rooney.market.messages import Bar


@click.command()
@click.argument("symbol", required=False)
@click.option("--timeframe", type=TIMEFRAME, default="1min", show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Print bars as they are published, until interrupted.")
@click.option("--count", "-n", default=10, show_default=True, help="Bars per instrument.")
@takes("config", "json")
def bars(call: Call, symbol: str | None, timeframe: str, follow: bool, count: int) -> None:
    """Print published bars; with --json one object a line."""
    from rooney.bus.reader import Reader

    config = call.load()
    known = config.instruments()
    if symbol is not None and symbol not in known:
        raise ConfigError(f"instruments.{symbol}: no such instrument; configured are {', '.join(known)}")
    symbols = [symbol] if symbol else list(known)
    bus = Reader(config.data_hub())
    for each in symbols:
        for bar in bus.history(each, timeframe, count):
            _print_bar(bar, call.as_json)

    def on_bar(bar: "Bar") -> bool:
        if bar.symbol in symbols:
            _print_bar(bar, call.as_json)
        return True

    if follow:
        try:
            bus.listen(f"market:*:{timeframe}", on_bar)
        except KeyboardInterrupt:
            return


def _print_bar(bar: "Bar", as_json: bool) -> None:
    import msgspec

    from rooney.format import minute_text

    if as_json:
        click.echo(json.dumps(msgspec.structs.asdict(bar)))
        return
    name = f"{minute_text(bar.ts_open)} {bar.symbol:<4}{bar.contract:<7}{bar.timeframe:<7}"
    click.echo(f"{name}{bar.open:>12g} {bar.high:>12g} {bar.low:>12g} {bar.close:>12g} {bar.volume:>9d}")


@click.command()
@takes("config", "json")
def watch(call: Call) -> None:
    """Say once what needs a person: stale, unknown, halted. Exit status 1 if anything does.

    With $RUNTIME_DIRECTORY, as its unit has it, only what was not said in the last four hours. Where an alert sender is
    set up, it tells the rest, and what is watched is the sender.
    """
    from rooney.monitor.conditions import attention, sender
    from rooney.monitor.heartbeat import read_beat
    from rooney.monitor.watch import SENDER, look, news, read_said, write_said

    log.setup("watch")
    now_ns = time.time_ns()
    lines = {kind: one.text for kind, one in attention(look(call.load()), now_ns).items()}
    lines = sender(lines, read_beat(Path(os.environ.get("ROONEY_ALERTS_DIRECTORY", SENDER))), now_ns)
    if directory := os.environ.get("RUNTIME_DIRECTORY"):
        memory = Path(directory) / "said.json"
        lines, said = news(lines, read_said(memory), now_ns)
        write_said(memory, said)
    if call.as_json:
        click.echo(json.dumps(lines))
    else:
        for line in lines.values():
            log.event(logging.getLogger("rooney.monitor.watch"), logging.ERROR, "watch", line)
    sys.exit(EXIT_ATTENTION if lines else EXIT_OK)


@click.command()
@click.argument("name", required=False)
@click.option("--day", help="Trade date (YYYY-MM-DD) [the last one that ended].")
@click.option("--week", is_flag=True, help="The week of that trade date [the last one that ended].")
@click.option("--html", type=PATH, help="Also as one file with plots: its name, or a folder.")
@click.option("--post", is_flag=True, help="Also to Slack and Discord, by the alert sender.")
@click.option("--outbox", type=PATH, help="Where the sender looks [/var/lib/rooney-report/outbox].")
@formerly("--state", "state", type=PATH)
@takes("config", "state", "json")
def report(
    call: Call, name: str | None, day: str | None, week: bool, html: Path | None, post: bool, outbox: Path | None
) -> None:
    """Sum up a trade date or a week from the ledgers. Exit status 1 if one cannot be read."""
    from rooney.market.instruments import group_of
    from rooney.performance import period as periods
    from rooney.performance import report as reports

    log.setup("report")
    config, now_ns = call.load(), time.time_ns()
    at = instant(day, "--day")
    wanted = at.date() if at else periods.last_ended(now_ns)
    period = periods.day_of(wanted)
    if week:
        period = periods.week_of(wanted) if at else periods.last_week_ended(now_ns)
    names = [config.strategy(name).name] if name else list(config.names)
    groups = {group_of(root) for root in config.file.instruments}
    summaries = reports.read(names, groups, period, call.state_directory, now_ns)
    if html is not None:
        needs("report --html", "jinja2", extras="dashboard")
        from rooney.dashboard.report import html as page

        path = html if html.suffix == ".html" else html / f"{period.name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(period, summaries, now_ns), encoding="utf-8")
        click.echo(f"{path}", err=True)
    if post:
        from rooney.alerts import outbox as outboxes

        outboxes.post(outbox or outboxes.REPORTS, outboxes.Posted(now_ns, reports.notices(period, summaries)))
    shown = {
        each.name: {"lack": each.lack} if each.lack else {"day": each.day, "pace": each.pace, "trades": each.trades}
        for each in summaries
    }
    is_lacking = any(each.lack and each.lack != "no ledger yet" for each in summaries)
    call.say(
        {"first": str(period.first), "last": str(period.last), "strategies": shown},
        [reports.text(period, summaries)],
        EXIT_ATTENTION if is_lacking else EXIT_OK,
    )


@click.command()
@click.argument("unit")
def alert(unit: str) -> None:
    """Say that a unit failed: in the journal, and to Slack or Discord where a credential leads. For OnFailure=."""
    import socket

    from rooney.alerts.on_failure import run

    log.setup("alert")
    sys.exit(run(unit, os.environ, socket.gethostname()))


@click.command()
@click.option("--known", is_flag=True, help="Take note of all that stands: it is repeated every 4 hours only.")
@click.option("--hours", default=24.0, show_default=True, help="What was over before that is left out.")
@click.option("--book", "directory", type=PATH, help="Of the sender [/var/lib/rooney-alert-sender].")
@takes("state", "json")
def alerts(call: Call, known: bool, hours: float, directory: Path | None) -> None:
    """List alerts: what stands, what is over, and the messages that told so. Exit status 1 if anything stands."""
    from rooney.alerts.message import word
    from rooney.alerts.process import BOOK
    from rooney.alerts.store import told
    from rooney.orders.control import KNOWN

    if known:
        path = call.control / KNOWN
        path.unlink(missing_ok=True)  # it may be another member's of the group
        path.touch(0o664)
    incidents = told((directory or Path("/var/lib/rooney-alert-sender")) / BOOK, time.time_ns() - int(hours * 3600e9))
    lines = []
    for each in incidents:
        began = time.strftime("%m-%d %H:%M:%SZ", time.gmtime(each.began_ns // 1_000_000_000))
        state = "news" if each.is_news else "over" if each.ended_ns else "STANDS"
        where = f"  [#{each.messages.replace(' ', ' #')}]" if each.messages else "  (not told yet)"
        lines.append(f"{began}  {state:<7}{word(each.level):<6}{each.scope or 'system'}: {each.text}{where}")
    stands = any(not each.ended_ns for each in incidents)
    call.say({"alerts": incidents}, lines, EXIT_ATTENTION if stands else EXIT_OK)


VERBS: tuple[click.Command, ...] = (bars, watch, report, alert, alerts)
