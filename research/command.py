"""What `rooney backtest` shows: progress on a terminal, a table at the end."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from research import backtest
from research.history import History
from rooney.build import build_engine, model_findings
from rooney.config import StrategyConfig


def run_backtest(
    strategy: StrategyConfig, data: Path, start: datetime | None, end: datetime | None, out: Path | None, as_json: bool
) -> None:
    """Run, write and print."""
    for finding in model_findings(strategy):
        click.echo(f"{finding.level}: {finding.path}: {finding.text}", err=True)
    # Traded ones, and those whose bars the features of others are made of.
    history = History(data, [item.symbol for item in build_engine(strategy).instruments], start, end)
    if sys.stderr.isatty():
        with click.progressbar(length=1000, label=f"{history.bars:,} bars", file=sys.stderr) as bar:
            result = backtest.run(strategy, history, lambda share: bar.update(int(share * 1000) - bar.pos))
    else:
        result = backtest.run(strategy, history)
    summary = backtest.summary(result, strategy, history)
    if out is not None:
        backtest.write(result, summary, strategy.settings.starting_cash, out)
    if as_json:
        click.echo(json.dumps(summary, default=str))
        return
    for label, text in _rows(summary):
        click.echo(f"  {label:<28}{text}")
    if out is not None:
        click.echo(f"\nwritten: {out}/trades.parquet, equity.parquet, summary.json, report.html")


def _rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    begin, end = summary["span"]
    rows = [("span", f"{begin} to {end}"), ("bars, marks", f"{summary['bars']:,}, {summary['marks']:,}")]
    for name, value in summary["measures"].items():
        rows.append((name, "-" if value is None else f"{value:,.4g}" if abs(value) < 100 else f"{value:,.2f}"))
    rows.append(("decisions", f"{summary['decisions']:,} ({summary['decision_digest']})"))
    rows.append(("time", f"load {summary['load_s']} s, engine {summary['engine_s']} s"))
    return rows
