"""Display of `rooney demo`: progress while it runs, a table at its end; rich on a terminal, plain lines otherwise."""

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

from rooney.errors import EXIT_FAILURE, EXIT_OK
from rooney.sim.demo import Demo
from rooney.sim.demo_plan import Options

PLAIN_EVERY_S = 5.0


def run_demo(options: Options) -> int:
    """Run it, show it, return the exit status. SIGTERM and Ctrl-C end it and everything it started."""

    def interrupted(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    # The summary goes to stdout; with --json all the rest must not.
    stream = sys.stderr if options.as_json else sys.stdout
    demo = Demo(options, lambda text: print(text, file=stream, flush=True))
    try:
        with _progress(stream) as show:
            summary = demo.run(show)
    except KeyboardInterrupt:
        print("interrupted: ending all parts", file=sys.stderr, flush=True)
        return 130
    finally:
        demo.close()
    if options.as_json:
        print(json.dumps(summary))
    else:
        table(summary)
    return EXIT_OK if summary["ok"] else EXIT_FAILURE


@contextlib.contextmanager
def _progress(stream: TextIO) -> Iterator[Callable[[float, str], None]]:
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
            print(f"streaming {share:4.0%}  {text}", file=stream, flush=True)

    yield plain


def table(summary: dict[str, Any]) -> None:
    """Print it for a person."""
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
        trades = f"{found['trades']} trade{'' if found['trades'] == 1 else 's'}"
        rows.append((name, f"{intents}{vetoed}; {trades}, est. {found['pnl_usd']:+,.2f} USD; {held}"))
    width = max(len(label) for label, _ in rows)
    lines = [f"  {label:<{width}}  {text}" for label, text in rows]
    checks = [f"  {'ok  ' if held else 'FAIL'}  {check}" for check, held in summary["checks"].items()]
    events = [f"  {at}  {name}: {text}" for at, name, text in summary["events"]]
    print("", *lines, *(["", *events] if events else []), "", *checks, sep="\n")
    commands = [f"  {command}" for command in summary["next"]]
    print("", "ok" if summary["ok"] else "NOT OK", "", "next:", *commands, sep="\n", flush=True)


def _latency_text(latency: dict[str, Any]) -> str:
    if latency["p50"] is None:
        return "no order" if latency["label"] == "replay" else str(latency["label"])
    return f"p50 {latency['p50']} ms, p99 {latency['p99']} ms, max {latency['max']} ms"
