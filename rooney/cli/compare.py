"""`rooney compare` and `rooney audit` on the command line."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from rooney.cli.options import JSON, STATE, configured, load, say
from rooney.errors import EXIT_OK, ConfigError
from rooney.paths import state_directory
from rooney.performance.comparison import compare_all, keep_comparison, keep_expectation


def _instant(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option}: expected an ISO time such as 2026-03-11T15:00, got {text!r}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="A B …")
@STATE
@click.option("--start", help="First instant that counts (ISO time, UTC) [when all runs have begun].")
@click.option("--end", help="Last instant that counts [when the first run ends].")
@click.option("--bar", type=click.Choice(["1min", "hourly", "daily"]), help="How far apart a pair may be [as decided].")
@click.option("--zone", help="Of times without one in CSV files: UTC, America/Chicago …, or exchange.")
@click.option("--limit", type=click.FloatRange(min=0), default=0.05, show_default=True, help="Discrepancy that is 1.")
@click.option("--report", type=click.Path(path_type=Path), help="Write one HTML file.")
@click.option("--keep", is_flag=True, help="Show it on the dashboard and to alerts.")
@JSON
def compare(
    runs: tuple[str, ...],
    state: Path | None,
    start: str | None,
    end: str | None,
    bar: str | None,
    zone: str | None,
    limit: float,
    report: Path | None,
    keep: bool,
    as_json: bool,
) -> None:
    """Compare runs with the first of them, trade by trade; 1 if more than --limit is not the same.

    Each is the name of a strategy (its ledger), a ledger file, a folder of `rooney backtest --out`, or the old system's
    trades database or CSV. The discrepancy is the share of trades that are not equal, or the difference of P&L, if
    that is larger. With --keep, a backtest among them is also what the strategy's health is measured against.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from rooney.ops import compare as act
    from rooney.performance.runs import Kind
    from rooney.performance.sources import EXCHANGE, read_run

    if len(runs) < 2:
        raise ConfigError(f"compare: expected two runs or more, got {len(runs)}; nothing was compared")
    if zone not in (None, EXCHANGE):
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigError(f"--zone: expected a zone such as America/Chicago, or exchange, got {zone!r}") from None
    directory = state_directory(state, os.environ)
    read = [read_run(one, directory, zone) for one in runs]
    now_ns = time.time_ns()
    found = compare_all(read, limit, now_ns, _instant(start, "--start"), _instant(end, "--end"), bar)
    written = []
    if keep:
        written.append(keep_comparison(directory, found))
        tested = next((run for run in read if run.kind is Kind.BACKTEST), None)
        if tested is not None and any(run.kind is Kind.LEDGER for run in read):
            promised = keep_expectation(directory, found.name, tested, now_ns)
            written += [promised] if promised is not None else []
    if report is not None:
        text = act.report(found)
        try:
            report.write_text(text)
        except OSError as error:
            raise ConfigError(f"--report {report}: {error.strerror}; no report was written") from None
        written.append(report)
    text_lines = [*act.lines(found), *(f"written: {path}" for path in written)]
    say(as_json, act.as_json(found) | {"written": [str(path) for path in written]}, text_lines, act.code(found))


@click.command()
@click.argument("names", nargs=-1)
@configured
@STATE
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Bars of the whole run [the kept tape].")
@click.option("--tape", type=click.Path(path_type=Path), help="Where the tape is kept [$STATE_DIRECTORY, STATE/audit].")
@click.option("--limit", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Discrepancy that is 1.")
@click.option("--dry-run", is_flag=True, help="Neither keep the tape's new minutes nor show the result.")
@JSON
def audit(
    names: tuple[str, ...],
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    state: Path | None,
    data: Path | None,
    tape: Path | None,
    limit: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Step live runs again from the recorded tape and compare every decision and trade; 1 if one differs.

    The tape's new minutes are taken from Redis and kept; what is found is shown on the dashboard and to alerts.
    """
    import importlib.util

    from rooney.ops import compare as act

    if importlib.util.find_spec("polars") is None:
        raise ConfigError("audit: needs polars, which is not installed: pip install 'rooney[research]'")
    from research.backtest.audit import audit as audited
    from rooney.bus.reader import Reader
    from rooney.ops.tape_export import record
    from rooney.paths import find_ledger, ledger_names

    config = load(config_path, overrides, env_file)
    directory = state_directory(state, os.environ)
    chosen = names or tuple(name for name in config.names if name in ledger_names(directory))
    kept = tape or Path(os.environ.get("STATE_DIRECTORY") or directory / "audit")
    if data is None and not dry_run:
        bus = Reader.to(config.data_hub())
        try:
            record(bus, tuple(config.file.instruments), kept)
        finally:
            bus.close()
    found = [audited(config.strategy(name), data or kept, find_ledger(directory, name), limit) for name in chosen]
    if not dry_run:
        for one in found:
            keep_comparison(directory, one)
    text_lines = [line for one in found for line in act.audit_lines(one)]
    code = max((act.code(one) for one in found), default=EXIT_OK)
    say(as_json, {"audits": [act.as_json(one) for one in found]}, text_lines or [f"no ledgers in {directory}"], code)


VERBS = (compare, audit)
