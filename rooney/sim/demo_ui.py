"""What `rooney demo` shows: progress while it runs, a table at its end; rich on a terminal, plain lines otherwise."""

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import click

from rooney.errors import EXIT_FAILURE, EXIT_OK
from rooney.sim.demo import Demo, Options

PLAIN_EVERY_S = 5.0


def run_demo(options: Options) -> int:
    """Run it, show it, return the exit status. SIGTERM and Ctrl-C end it and everything it started."""

    def interrupted(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    # The summary goes to stdout; with --json all the rest must not.
    err = options.as_json
    demo = Demo(options, lambda text: click.echo(text, err=err))
    try:
        with _progress(err) as show:
            summary = demo.run(show)
    except KeyboardInterrupt:
        click.echo("interrupted: ending all parts", err=True)
        return 130
    finally:
        demo.close()
    if options.as_json:
        click.echo(json.dumps(summary))
    else:
        _table(summary)
    return EXIT_OK if summary["ok"] else EXIT_FAILURE


@contextlib.contextmanager
def _progress(err: bool) -> Iterator[Callable[[float, str], None]]:
    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (TextColumn("streaming"), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(file=stream), transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda share, text: bar.update(task, completed=share, description=text)
        return
    last = 0.0

    def plain(share: float, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_EVERY_S:
            last = time.monotonic()
            click.echo(f"streaming {share:4.0%}  {text}", err=err)

    yield plain


def _table(summary: dict[str, Any]) -> None:
    latency = summary["latency_ms"]
    bars = ", ".join(f"{number:,} {timeframe}" for timeframe, number in summary["bars"].items())
    rows = [
        ("trades received", f"{summary['trades_in']:,}"),
        ("minutes on the tape", f"{summary['minutes']:,}"),
        ("bars", bars),
        ("rolls", ", ".join(f"{root} to {contract}" for root, contract in summary["rolls"].items()) or "none"),
        ("streamed in", f"{summary['streamed_s']} s"),
        ("requests at the webhook", f"{summary['webhooks_received']:,}"),
        ("closing record to webhook, replay", _latency_text(latency)),
    ]
    for name, found in summary["per_strategy"].items():
        intents = ", ".join(f"{number} {state}" for state, number in sorted(found["intents"].items())) or "no intents"
        held = ", ".join(f"{ticker} {size:+d}" for ticker, size in found["positions_ledger"].items()) or "flat"
        vetoed = "".join(f"; {number} entries {reason}" for reason, number in found["held_back"].items())
        rows.append((name, f"{intents}{vetoed}; {found['trades']} trades, est. {found['pnl_usd']:+,.2f} USD; {held}"))
    width = max(len(label) for label, _ in rows)
    click.echo("")
    for label, text in rows:
        click.echo(f"  {label:<{width}}  {text}")
    click.echo("")
    for check, held in summary["checks"].items():
        click.echo(f"  {'ok  ' if held else 'FAIL'}  {check}")
    click.echo(f"\n{'ok' if summary['ok'] else 'NOT OK'}")


def _latency_text(latency: dict[str, Any]) -> str:
    if latency["p50"] is None:
        return "no order"
    return f"p50 {latency['p50']} ms, p99 {latency['p99']} ms, max {latency['max']} ms"
