"""`rooney backtest`: a strategy over history, as a table or as JSON, with progress on a terminal."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rooney.cli.options import EXISTING, PATH, Call, instant, takes
from rooney.cli.progress import bars
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError
from rooney.format import iso

if TYPE_CHECKING:
    from datetime import datetime

    from research.backtest.lookahead import LookAhead, MarkDifference, WarmUp
    from research.backtest.replay import Replayed
    from research.history.history import History
    from rooney.config.settings import StrategyConfig
    from rooney.orders.decisions import Decisions

    Span = tuple[datetime | None, datetime | None]

T = TypeVar("T")
Row = tuple[str, str]  # a label and its text


@click.command()
@click.argument("name", required=False)
@click.option("--data", type=EXISTING, help="Parquet, DBN, or a folder.")
@click.option("--start", help="First instant (ISO time, UTC).")
@click.option("--end", help="First instant left out.")
@click.option("--symbols", help="Only these of the strategy's instruments: ES,NQ.")
@click.option("--decisions", is_flag=True, help="With --out: write what each bar decided, for `rooney compare`.")
@click.option("--outcomes", type=PATH, help="Ledger of a live run: step it again and compare.")
@click.option("--verify", is_flag=True, help="Cut history and begin late: does it decide the same?")
@click.option("--all", "is_all", is_flag=True, help="Every strategy, over --data or a small market made for it.")
@click.option("--golden", type=PATH, help="With --all: compare with this file.")
@click.option("--update", is_flag=True, help="With --golden: write it anew.")
@click.option("--out", type=PATH, help="Write trades, equity, summary and report here.")
@takes("config", "strict", "json")
def backtest(
    call: Call,
    name: str | None,
    data: Path | None,
    start: str | None,
    end: str | None,
    symbols: str | None,
    decisions: bool,
    outcomes: Path | None,
    verify: bool,
    is_all: bool,
    golden: Path | None,
    update: bool,
    out: Path | None,
) -> None:
    """Run a strategy over history, on the very step that trades. Exit status 1 if a comparison finds a difference."""
    if ((golden is not None or update) and not is_all) or (update and golden is None):
        raise ConfigError("backtest: --golden FILE goes with --all, and --update with --golden; nothing was run")
    if is_all:
        if name is not None or outcomes is not None or verify:
            raise ConfigError("backtest: --all runs every strategy, so NAME, --outcomes and --verify do not go with it")
        run_all(call, data, golden, update=update)
    if name is None or data is None:
        raise ConfigError("backtest: which strategy, over which bars? rooney backtest NAME --data PATH")
    strategy = call.strategy(name, symbols)
    span = instant(start, "--start"), instant(end, "--end")
    if outcomes is not None:
        run_replay(call, strategy, data, span, outcomes, out)
    if verify:
        run_verify(call, strategy, data, span)
    run_backtest(call, strategy, data, span, out, with_decisions=decisions)


def run_backtest(
    call: Call, strategy: "StrategyConfig", data: Path, span: "Span", out: Path | None, *, with_decisions: bool = False
) -> None:
    """Run, write and print. with_decisions: write what each bar decided, too, for a comparison to find reasons in."""
    from research.backtest import backtest as backtests
    from research.backtest.ledger_outcomes import write_decisions
    from research.history.history import History
    from rooney.engine.model_checks import model_findings

    for finding in model_findings(strategy):
        click.echo(f"{finding.level}: {finding.path}: {finding.text}", err=True)
    history = History(data, backtests.roots_of(strategy), *span)
    decided: list[Decisions] = []
    keep = decided.append if with_decisions else None
    result = _shown(f"{history.bars:,} bars", lambda progress: backtests.run(strategy, history, progress, keep))
    summary = backtests.summary(result, strategy, history)
    if out is not None:
        backtests.write(result, summary, strategy.settings.starting_cash, out)
        if with_decisions:
            write_decisions(decided, out)
    call.say(summary, _lines(_summary_rows(summary), out), tells_exit=False)  # summary.json, as it is


def run_replay(
    call: Call, strategy: "StrategyConfig", data: Path, span: "Span", ledger: Path, out: Path | None
) -> None:
    """Step a live run again and say whether it came out the same; attention if it did not."""
    from research.backtest import backtest as backtests
    from research.backtest import replay

    replayed, result, history = _shown(
        f"replay of {ledger.name}", lambda progress: replay.replay(strategy, data, ledger, *span, progress)
    )
    summary = backtests.summary(result, strategy, history, outcomes=str(ledger)) | {"replay": replayed.as_dict()}
    if out is not None:
        backtests.write(result, summary, strategy.settings.starting_cash, out)
    rows = [*_summary_rows(summary), *_replay_rows(replayed)]
    call.say(summary, _lines(rows, out), EXIT_OK if replayed.is_equal else EXIT_ATTENTION, tells_exit=False)


def run_verify(call: Call, strategy: "StrategyConfig", data: Path, span: "Span") -> None:
    """Cut history at some places, and begin at some as a worker does; attention if a decision is not the same."""
    from research.backtest import lookahead
    from research.backtest.backtest import roots_of
    from research.history.history import History

    start, end = span

    def history(until: "datetime | None") -> "History":
        ends = [at for at in (end, until) if at is not None]
        return History(data, roots_of(strategy), start, min(ends, default=None))

    ahead, warm = lookahead.look_ahead(strategy, history), lookahead.warm_up(strategy, history(None))
    is_clean = not ahead.differences and not warm.differences
    short = [name for name, count in warm.features.items() if count is None]
    tried = f"no difference at {len(ahead.cuts)} cuts of history and {len(warm.starts)} starts of a worker"
    less = f"; not the same with as many bars as a worker loads: {', '.join(short)}" if short else ""
    verdict = (tried if is_clean else "NOT TO BE TRUSTED: it decides otherwise, see above") + less
    call.say(
        {"is_clean": is_clean, "look_ahead": ahead, "warm_up": warm},
        _lines([*_look_ahead_rows(ahead), *_warm_up_rows(warm), ("verdict", verdict)]),
        EXIT_OK if is_clean else EXIT_ATTENTION,
    )


def run_all(call: Call, data: Path | None, kept: Path | None, *, update: bool) -> None:
    """Run every strategy over the same bars; attention if something is not as it was kept.

    data: None: the small market of `research.backtest.golden`; kept: results of an earlier run
    """
    from research.backtest import golden

    strategies = golden.strategies_of(call.load())
    with tempfile.TemporaryDirectory(prefix="rooney-golden-") as folder:
        results = golden.run_all(strategies, data or golden.write_market(Path(folder)))
    changes = golden.differences(golden.read(kept), results) if kept is not None and not update else []
    if kept is not None and update:
        golden.write(kept, results)
    lines = [
        f"  {name:<20}{each.trades:>7,} trades{each.net_pnl_usd:>16,.2f} USD   {each.digest}"
        for name, each in results.strategies.items()
    ]
    lines += [f"changed: {change}" for change in changes]
    if changes:
        over = f" --data {data}" if data else ""
        lines.append(f"If that is meant: rooney backtest --all --golden {kept} --update{over}")
    elif kept is not None:
        lines.append(f"written: {kept}" if update else f"as in {kept}")
    call.say({"found": results, "changes": changes}, lines, EXIT_ATTENTION if changes else EXIT_OK)


def _look_ahead_rows(found: "LookAhead") -> list[Row]:
    cuts = ", ".join(map(iso, found.cuts))
    rows = [("look-ahead", f"history ended at {cuts}: {found.decisions:,} decisions before the last")]
    if not found.differences:
        return [*rows, ("", f"no difference when history is cut at {len(found.cuts)} places")]
    return rows + [row for cut, one in found.differences.items() for row in _both(f"ended at {iso(cut)}", one)]


def _warm_up_rows(found: "WarmUp") -> list[Row]:
    loaded = ", ".join(f"{count} {timeframe}" for timeframe, count in found.loaded.items() if count)
    rows = [("warm-up", f"a worker loads {loaded or 'no'} bars; {found.sessions} sessions were there to load from")]
    rows += [(f"  {name}", _enough(count)) for name, count in found.features.items()]
    rows.append(("  decisions", _enough(found.decisions)))
    return rows + [row for at, one in found.differences.items() for row in _both(f"begun at {iso(at)}", one)]


def _enough(count: int | None) -> str:
    return "not the same with as many as a worker loads" if count is None else f"the same from {count} bars on"


def _both(label: str, one: "MarkDifference") -> list[Row]:
    at = iso(one.ts_mark)
    return [(label, f"at {at} with all history: {one.whole}"), ("", f"at {at} with part of it: {one.part}")]


def _replay_rows(found: "Replayed") -> list[Row]:
    span = f"{iso(found.start_ns)} to {iso(found.end_ns)}"
    rows = [("replayed", f"{span}, told {found.told} outcomes and acts")]
    rows += [(table, f"{same:,} of {max(counts):,} equal") for table, (*counts, same) in found.rows.items()]
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


def _shown(label: str, work: Callable[[Callable[[float], None]], T]) -> T:
    """Do it, with a bar of progress on a terminal."""
    from research.history.progress import silent

    with bars(label) if sys.stderr.isatty() else silent(label) as steps:
        return work(steps)


def _lines(rows: list[Row], out: Path | None = None) -> list[str]:
    """A table. out: folder that was written."""
    written = [f"\nwritten: {out}/trades.parquet, equity.parquet, summary.json, report.html"] if out is not None else []
    return [*(f"  {label:<28}{text}" for label, text in rows), *written]


def _summary_rows(summary: dict[str, Any]) -> list[Row]:
    from research.backtest.result import opened_text

    begin, end = summary["span"]
    rows = [("span", f"{begin} to {end}"), ("bars, marks", f"{summary['bars']:,}, {summary['marks']:,}")]
    if summary["warm_up_from"]:
        rows.append(("warm-up", f"with bars from {summary['warm_up_from']} on, as the file says"))
    if summary["without_bars"]:
        rows.append(("without bars", ", ".join(summary["without_bars"])))
    if holes := summary["days_without_bars"]:
        more = f" … and {len(holes) - 10} more" if len(holes) > 10 else ""
        rows.append(("dates without bars, left out", ", ".join(holes[:10]) + more))
    if summary["open_positions"]:
        rows.append(("open at the end", opened_text(summary)))
    if summary["findings"]:
        rows.append(("left out", ", ".join(f"{each['count']:,} {each['kind']}" for each in summary["findings"])))
    for name, value in summary["measures"].items():
        rows.append((name, "-" if value is None else f"{value:,.4g}" if abs(value) < 100 else f"{value:,.2f}"))
    rows.append(("decisions", f"{summary['decisions']:,} ({summary['decision_digest']})"))
    rows.append(("time", f"load {summary['load_s']} s, engine {summary['engine_s']} s"))
    return rows


VERBS: tuple[click.Command, ...] = (backtest,)
