"""What `rooney backtest` shows: progress on a terminal, a table at the end. Each verb returns an exit status."""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from research import backtest, replay
from research.history import History
from research.replay import Replayed
from rooney.config import StrategyConfig
from rooney.errors import EXIT_ATTENTION, EXIT_OK

T = TypeVar("T")


def run_backtest(
    strategy: StrategyConfig, data: Path, start: datetime | None, end: datetime | None, out: Path | None, as_json: bool
) -> int:
    """Run, write and print."""
    history = History(data, backtest.roots_of(strategy), start, end)
    result = _shown(f"{history.bars:,} bars", lambda progress: backtest.run(strategy, history, progress))
    found = backtest.summary(result, strategy, history)
    if out is not None:
        backtest.write(result, found, strategy.settings.starting_cash, out)
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


def _told(found: Replayed) -> dict[str, Any]:
    return {
        "span": [backtest.iso(found.start_ns), backtest.iso(found.end_ns)],
        "told": found.told,
        "rows": {table: {"ledger": rows, "same": same} for table, (rows, same) in found.rows.items()},
        "differences": msgspec.to_builtins(found.differences),
        "is_same_book": found.is_same_book,
        "is_same_code": found.is_same_code,
        "is_equal": found.is_equal,
    }


def _comparison(found: Replayed) -> list[tuple[str, str]]:
    span = f"{backtest.iso(found.start_ns)} to {backtest.iso(found.end_ns)}"
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
