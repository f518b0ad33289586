"""What `rooney backtest` shows: progress on a terminal, a table at the end. Each way of it returns an exit status."""

import json
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from research.backtest import backtest, golden, replay
from research.backtest import ledger_outcomes as recording
from research.backtest import lookahead as checks
from research.backtest.lookahead import LookAhead, WarmUp
from research.backtest.replay import Replayed
from research.history.history import History
from rooney.config.settings import StrategyConfig
from rooney.engine.model_checks import model_findings
from rooney.errors import EXIT_ATTENTION, EXIT_OK
from rooney.format import iso
from rooney.orders.decisions import Decisions

T = TypeVar("T")


def run_backtest(
    strategy: StrategyConfig,
    data: Path,
    start: datetime | None,
    end: datetime | None,
    out: Path | None,
    as_json: bool,
    decisions: bool = False,
) -> int:
    """Run, write and print. decisions: write what each bar decided, too, for a comparison to find reasons in."""
    for finding in model_findings(strategy):
        click.echo(f"{finding.level}: {finding.path}: {finding.text}", err=True)
    history = History(data, backtest.roots_of(strategy), start, end)
    decided: list[Decisions] = []
    keep = decided.append if decisions else None
    result = _shown(f"{history.bars:,} bars", lambda progress: backtest.run(strategy, history, progress, keep))
    found = backtest.summary(result, strategy, history)
    if out is not None:
        backtest.write(result, found, strategy.settings.starting_cash, out)
        if decisions:
            recording.write_decisions(decided, out)
    _print(found, _rows(found), out, as_json)
    return EXIT_OK


def run_replay(
    strategy: StrategyConfig,
    data: Path,
    ledger: Path,
    start: datetime | None,
    end: datetime | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Step a live run again and say whether it came out the same; attention if it did not."""
    found, result, history = _shown(
        f"replay of {ledger.name}", lambda progress: replay.replay(strategy, data, ledger, start, end, progress)
    )
    summary = backtest.summary(result, strategy, history, outcomes=str(ledger)) | {"replay": _told(found)}
    if out is not None:
        backtest.write(result, summary, strategy.settings.starting_cash, out)
    _print(summary, [*_rows(summary), *_comparison(found)], out, as_json)
    return EXIT_OK if found.is_equal else EXIT_ATTENTION


def run_verify(
    strategy: StrategyConfig, data: Path, start: datetime | None, end: datetime | None, as_json: bool
) -> int:
    """Try whether the strategy reads the future, and how much history it needs; attention if it lies."""
    roots = backtest.roots_of(strategy)

    def history(until: datetime | None) -> History:
        ends = [at for at in (end, until) if at is not None]
        return History(data, roots, start, min(ends, default=None))

    ahead, warm = checks.look_ahead(strategy, history), checks.warm_up(strategy, history(None))
    is_clean = not ahead.differences and not warm.differences
    if as_json:
        found = {"is_clean": is_clean, "look_ahead": ahead, "warm_up": warm}
        click.echo(json.dumps(msgspec.to_builtins(found, str_keys=True)))
    else:
        for label, text in (*_ahead(ahead), *_warm(warm)):
            click.echo(f"  {label:<28}{text}")
        click.echo(f"  {'verdict':<28}{'no look-ahead, warm in time' if is_clean else 'NOT TO BE TRUSTED'}")
    return EXIT_OK if is_clean else EXIT_ATTENTION


def _ahead(found: LookAhead) -> list[tuple[str, str]]:
    cuts = ", ".join(map(iso, found.cuts))
    rows = [("look-ahead", f"history ended at {cuts}: {found.decisions:,} decisions before the last")]
    if not found.differences:
        return [*rows, ("", "all the same: nothing reads the future")]
    return rows + [row for cut, one in found.differences.items() for row in _both(f"ended at {iso(cut)}", one)]


def _warm(found: WarmUp) -> list[tuple[str, str]]:
    loaded = ", ".join(f"{count} {timeframe}" for timeframe, count in found.loaded.items() if count)
    rows = [("warm-up", f"a worker loads {loaded or 'no'} bars; {found.sessions} sessions were there to load from")]
    rows += [(f"  {name}", _enough(count)) for name, count in found.features.items()]
    rows.append(("  decisions", _enough(found.decisions)))
    return rows + [row for at, one in found.differences.items() for row in _both(f"begun at {iso(at)}", one)]


def _enough(count: int | None) -> str:
    return "not the same with as many as a worker loads" if count is None else f"the same from {count} bars on"


def _both(label: str, one: checks.Difference) -> list[tuple[str, str]]:
    at = iso(one.ts_mark)
    return [(label, f"at {at} with all history: {one.whole}"), ("", f"at {at} with part of it: {one.part}")]


def run_all(
    strategies: list[StrategyConfig], data: Path | None, kept: Path | None, update: bool, command: str, as_json: bool
) -> int:
    """Every strategy over the same bars; attention if something is not as it was kept.

    data: None: the small market of `research.backtest.golden`; command: what accepts a change
    """
    with tempfile.TemporaryDirectory(prefix="rooney-golden-") as folder:
        found = golden.run_all(strategies, data or golden.write_market(Path(folder)))
    changes = golden.differences(golden.read(kept), found) if kept is not None and not update else []
    if kept is not None and update:
        golden.write(kept, found)
    if as_json:
        click.echo(json.dumps({"found": msgspec.to_builtins(found), "changes": changes}))
        return EXIT_ATTENTION if changes else EXIT_OK
    for name, one in found.strategies.items():
        click.echo(f"  {name:<20}{one.trades:>7,} trades{one.net_pnl_usd:>16,.2f} USD   {one.digest}")
    for change in changes:
        click.echo(f"changed: {change}")
    if changes:
        click.echo(f"If that is meant: {command}")
    elif kept is not None:
        click.echo(f"written: {kept}" if update else f"as in {kept}")
    return EXIT_ATTENTION if changes else EXIT_OK


def _told(found: Replayed) -> dict[str, Any]:
    return {
        "span": [iso(found.start_ns), iso(found.end_ns)],
        "told": found.told,
        "rows": {table: {"ledger": rows, "same": same} for table, (rows, same) in found.rows.items()},
        "differences": msgspec.to_builtins(found.differences),
        "is_same_book": found.is_same_book,
        "is_same_code": found.is_same_code,
        "is_equal": found.is_equal,
    }


def _comparison(found: Replayed) -> list[tuple[str, str]]:
    span = f"{iso(found.start_ns)} to {iso(found.end_ns)}"
    rows = [("replayed", f"{span}, told {found.told} outcomes and acts")]
    rows += [(table, f"{same:,} of {count:,} equal") for table, (count, same) in found.rows.items()]
    book = {True: "equal as bytes", False: "different", None: "not compared: the replay ends before the ledger"}
    rows.append(("account and positions", book[found.is_same_book]))
    if not found.is_same_code:
        rows.append(("code", "the ledger was written by another code or configuration than this one"))
    for one in found.differences:
        rows.append((f"first other of {one.table}", f"ledger {_row(one.ledger)}"))
        rows.append(("", f"replay {_row(one.replay)}"))
    rows.append(("verdict", "the live run came out again, exactly" if found.is_equal else "DIFFERENT"))
    return rows


def _row(row: dict[str, Any] | None) -> str:
    return "has none" if row is None else ", ".join(f"{key} {value}" for key, value in row.items())


def _shown(label: str, work: Callable[[Callable[[float], None] | None], T]) -> T:
    """Do it, with a bar of progress on a terminal."""
    if not sys.stderr.isatty():
        return work(None)
    with click.progressbar(length=1000, label=label, file=sys.stderr) as bar:
        return work(lambda share: bar.update(int(share * 1000) - bar.pos))


def _print(found: dict[str, Any], rows: list[tuple[str, str]], out: Path | None, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found, default=str))
        return
    for label, text in rows:
        click.echo(f"  {label:<28}{text}")
    if out is not None:
        click.echo(f"\nwritten: {out}/trades.parquet, equity.parquet, summary.json, report.html")


def _rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    begin, end = summary["span"]
    rows = [("span", f"{begin} to {end}"), ("bars, marks", f"{summary['bars']:,}, {summary['marks']:,}")]
    if summary["without_bars"]:
        rows.append(("without bars", ", ".join(summary["without_bars"])))
    for name, value in summary["measures"].items():
        rows.append((name, "-" if value is None else f"{value:,.4g}" if abs(value) < 100 else f"{value:,.2f}"))
    rows.append(("decisions", f"{summary['decisions']:,} ({summary['decision_digest']})"))
    rows.append(("time", f"load {summary['load_s']} s, engine {summary['engine_s']} s"))
    return rows
