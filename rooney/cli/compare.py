"""Verbs that hold runs against one another: `rooney compare` and `rooney audit`."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rooney.cli.options import EXISTING, PATH, TIMEFRAME, Call, instant, needs, takes, zone
from rooney.errors import EXIT_OK, ConfigError, LedgerError

if TYPE_CHECKING:
    from rooney.performance.verdict import Verdict


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="A B …")
@click.option("--start", help="First instant that counts (ISO time, UTC) [when all runs have begun].")
@click.option("--end", help="Last instant that counts [when the first run ends].")
@click.option("--bar", type=TIMEFRAME, help="How far apart a pair may be [as decided].")
@click.option("--zone", "zone_name", help="Of times without one in CSV files: UTC, America/Chicago …, or exchange.")
@click.option("--limit", type=click.FloatRange(min=0), default=0.05, show_default=True, help="Discrepancy that is 1.")
@click.option("--report", type=PATH, help="Write one HTML file.")
@click.option("--keep", is_flag=True, help="Show it on the dashboard and to alerts.")
@takes("state", "json")
def compare(
    call: Call,
    runs: tuple[str, ...],
    start: str | None,
    end: str | None,
    bar: str | None,
    zone_name: str | None,
    limit: float,
    report: Path | None,
    keep: bool,
) -> None:
    """Compare runs with the first of them, trade by trade; 1 if more than --limit is not the same.

    Each is the name of a strategy (its ledger), a ledger file, a folder of `rooney backtest --out`, or the old system's
    trades database or CSV. The discrepancy is the share of trades that are not equal, or the difference of P&L, if
    that is larger. With --keep, a backtest among them is also what the strategy's health is measured against.
    """
    from rooney.ops import compare as act
    from rooney.performance.comparison import compare_all
    from rooney.performance.runs import Kind
    from rooney.performance.sources import EXCHANGE, read_run
    from rooney.performance.store import keep_comparison, keep_expectation

    if len(runs) < 2:
        raise ConfigError(f"compare: expected two runs or more, got {len(runs)}; nothing was compared")
    zone(zone_name, EXCHANGE)
    read = [read_run(run, call.state_directory, zone_name) for run in runs]
    now_ns = time.time_ns()
    verdict = compare_all(read, limit, now_ns, instant(start, "--start"), instant(end, "--end"), bar)
    written = []
    if keep:
        written.append(keep_comparison(call.state_directory, verdict))
        tested = next((run for run in read if run.kind is Kind.BACKTEST), None)
        if tested is not None and any(run.kind is Kind.LEDGER for run in read):
            promised = keep_expectation(call.state_directory, verdict.name, tested, now_ns)
            written += [promised] if promised is not None else []
    if report is not None:
        _write_page(verdict, report)
        written.append(report)
    lines = [*act.lines(verdict), *(f"written: {path}" for path in written)]
    call.say(act.as_json(verdict) | {"written": written}, lines, act.code(verdict))


def _write_page(verdict: "Verdict", path: Path) -> None:
    """Write one HTML page that opens offline. Raises ConfigError without the dashboard's parts."""
    try:
        from rooney.dashboard.comparison import page
    except ImportError:
        raise ConfigError(
            "--report: needs the dashboard's templates (pip install 'rooney[dashboard]'); no report was written"
        ) from None
    made = time.strftime("made %Y-%m-%d %H:%M:%S UTC", time.gmtime(verdict.ts_ns // 1_000_000_000))
    try:
        path.write_text(page(verdict, made))
    except OSError as error:
        raise ConfigError(f"--report {path}: {error.strerror}; no report was written") from None


def _last_mark(call: Call, name: str) -> int:
    try:
        return call.read(name).ts_mark
    except LedgerError:  # its audit says so
        return 0


@click.command()
@click.argument("names", nargs=-1)
@click.option("--data", type=EXISTING, help="Bars of the whole run [the kept tape].")
@click.option("--tape", type=PATH, help="Where the tape is kept [$STATE_DIRECTORY, STATE/audit].")
@click.option("--limit", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Discrepancy that is 1.")
@click.option("--dry-run", is_flag=True, help="Neither keep the tape's new minutes nor show the result.")
@takes("config", "state", "json")
def audit(
    call: Call, names: tuple[str, ...], data: Path | None, tape: Path | None, limit: float, dry_run: bool
) -> None:
    """Step live runs again from the recorded tape and compare every decision and trade; 1 if one differs.

    The tape's new minutes are taken from Redis and kept; the result is shown on the dashboard and to alerts.
    """
    needs("audit", "polars", extras="research")
    from research.backtest.audit import audit as audited
    from rooney.bus.reader import Reader
    from rooney.ops import compare as act
    from rooney.ops.tape_export import record
    from rooney.paths import ledger_names
    from rooney.performance.store import keep_comparison

    config = call.load()
    chosen = names or tuple(name for name in config.names if name in ledger_names(call.state_directory))
    kept = tape or Path(os.environ.get("STATE_DIRECTORY") or call.state_directory / "audit")
    ends = {name: _last_mark(call, name) for name in chosen}  # before the tape is taken: live workers go on
    if data is None and not dry_run:
        bus = Reader(config.data_hub())
        try:
            record(bus, tuple(config.file.instruments), kept)
        finally:
            bus.close()
    verdicts = [audited(config.strategy(name), data or kept, call.ledger(name), limit, ends[name]) for name in chosen]
    if not dry_run:
        for verdict in verdicts:
            keep_comparison(call.state_directory, verdict)
    call.say(
        {"audits": [act.as_json(verdict) for verdict in verdicts]},
        [line for verdict in verdicts for line in act.audit_lines(verdict)]
        or [f"no ledgers in {call.state_directory}"],
        max(map(act.code, verdicts), default=EXIT_OK),
    )


VERBS = (compare, audit)
