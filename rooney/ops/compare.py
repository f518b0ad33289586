"""`rooney compare A B …`: what is printed, written and kept of runs beside one another."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from rooney import cells as showing
from rooney import files as groupfile
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError
from rooney.performance.matching import Comparison, bar_ns, common, compare, level
from rooney.performance.runs import BAR_NS, Kind, Measures, Run
from rooney.performance.store import expectation_path, verdict_path
from rooney.performance.verdict import Verdict, verdict

DIFFERENCES_SHOWN = 40
_SECOND_NS = 1_000_000_000


def compare_all(
    runs: Sequence[Run], limit: float, ts_ns: int, start: datetime | None, end: datetime | None, bar: str | None,
    kind: str = "compare",
) -> Verdict:  # fmt: skip
    """Every other run against the first one, over the time all cover. Raises ConfigError if there is none.

    start, end: narrow that time, or widen it for a run that only tells its trades (the old system's)
    """
    begin_ns, end_ns = common([run for run in runs if run.kind is not Kind.OLD] or runs)
    if start is None:
        begin_ns = max([begin_ns, *(run.begin_ns for run in runs)])
    if end is None:
        end_ns = min([end_ns, *(run.end_ns for run in runs)])
    begin_ns = begin_ns if start is None else max(begin_ns, int(start.timestamp()) * _SECOND_NS)
    end_ns = end_ns if end is None else min(end_ns, int(end.timestamp()) * _SECOND_NS)
    if begin_ns >= end_ns:
        spans = ", ".join(f"{r.label} {showing.minute(r.begin_ns)} to {showing.minute(r.end_ns)}" for r in runs)
        raise ConfigError(f"compare: the runs have no time in common: {spans}; nothing was compared")
    runs = level(_named_apart(runs))
    apart_ns = BAR_NS[bar] if bar else bar_ns(*runs)
    found = [compare(runs[0], other, begin_ns, end_ns, apart_ns) for other in runs[1:]]
    return verdict(_name(runs), kind, ts_ns, limit, runs, found)


def _named_apart(runs: Sequence[Run]) -> list[Run]:
    """Labels that differ: two folders may have one name."""
    seen: dict[str, int] = {}
    found = []
    for run in runs:
        seen[run.label] = seen.get(run.label, 0) + 1
        label = run.label if seen[run.label] == 1 else f"{run.label} ({seen[run.label]})"
        found.append(msgspec.structs.replace(run, label=label))
    return found


def _name(runs: Sequence[Run]) -> str:
    """Whose comparison it is: the first ledger's, else the first run's."""
    ledgers = [run.label for run in runs if run.kind is Kind.LEDGER]
    return (ledgers or [runs[0].label])[0].replace("/", "_")


def code(found: Verdict) -> int:
    """Attention above the limit."""
    return EXIT_ATTENTION if found.is_alarm else EXIT_OK


# -- for people and programs --


def lines(found: Verdict) -> list[str]:
    """For a terminal."""
    rows = [("", *(run.label for run in found.runs)), *measure_rows(found.runs)]
    head = "P&L is estimated: no fill is ever reported back"
    if all(run.costs_usd is None for run in found.runs):
        head = "P&L before costs, which one of the runs does not know"
    text = [head, *showing.table(rows)]
    for one in found.comparisons:
        text += ["", *_lines(one)]
    text += ["", said(found)]
    return text


def said(found: Verdict) -> str:
    """The verdict in a line."""
    word = "ATTENTION" if found.is_alarm else "within the limit"
    clean = f"{found.clean_days} clean trade dates in a row"
    if found.trouble:
        return f"{found.name}: not compared: {found.trouble}"
    return f"{found.name}: discrepancy {found.discrepancy:.1%} (limit {found.limit:.1%}), {clean}: {word}"


def audit_lines(found: Verdict) -> list[str]:
    """An audit for a terminal."""
    if found.audit is None:
        return [said(found)]
    rows = [
        (all_.symbol, f"{day.share:.2%} of {day.decisions}", f"{all_.share:.2%} of {all_.decisions}", all_.first)
        for day, all_ in zip(found.audit.of_day, found.audit.of_all, strict=True)
    ]
    text = showing.table([("decisions", str(found.audit.day), "since the start", "first that differs"), *rows])
    if not found.audit.is_same_code:
        text.append("  code or configuration is another one than the ledger was written with")
    for one in found.comparisons:
        text += _lines(one)
    return [*text, said(found)]


def measure_rows(runs: Sequence[Measures]) -> list[tuple[str, ...]]:
    """Label and a cell per run, of each measure any run can tell."""
    rows = []
    for name, label, form in (
        ("trades", "trades", ",d"), ("pnl_usd", "P&L, USD", "+,.2f"), ("win_rate", "win rate", ".1%"),
        ("profit_factor", "profit factor", ".2f"), ("expectancy_usd", "expectancy, USD", "+,.2f"),
        ("sharpe", "Sharpe", ".2f"), ("max_drawdown_usd", "max drawdown, USD", ",.2f"),
        ("costs_usd", "costs, USD", ",.2f"), ("hours_held", "held, hours", ".2f"),
        ("decide_p50_ms", "bar to decision p50, ms", ".1f"), ("decide_p99_ms", "bar to decision p99, ms", ".1f"),
        ("send_p50_ms", "request to answer p50, ms", ".1f"),
    ):  # fmt: skip
        values = [getattr(run, name) for run in runs]
        if any(value is not None for value in values):
            rows.append((label, *("n/a" if value is None else format(value, form) for value in values)))
    return rows


def span(one: Comparison) -> str:
    """What was compared, in words."""
    apart = {ns: name for name, ns in BAR_NS.items()}.get(one.bar_ns, f"{one.bar_ns / 60e9:g} min")
    return f"{showing.minute(one.begin_ns)} to {showing.minute(one.end_ns)}, entries at most one {apart} bar apart"


def _lines(one: Comparison) -> list[str]:
    alone = one.trades_a - one.pairs, one.trades_b - one.pairs
    text = [
        f"{one.a} against {one.b}: {span(one)}",
        f"  {one.share:.1%} the same: {one.equal} of {one.pairs} pairs ({one.identical} in every number), "
        f"{alone[0]} only in {one.a}, {alone[1]} only in {one.b}",
        f"  P&L {showing.usd(one.pnl_a_usd)} and {showing.usd(one.pnl_b_usd)} USD; "
        f"{sum(day.is_clean for day in one.days)} of {len(one.days)} trade dates clean, "
        f"the last {one.clean_days} in a row",
    ]
    rows = [
        (showing.minute(d.entry_ts), d.symbol, f"only {d.only}" if d.only else "both", f"{showing.usd(d.usd)} USD",
         str(d.cause), d.text)
        for d in one.differences[:DIFFERENCES_SHOWN]
    ]  # fmt: skip
    text += showing.table(rows) if rows else []
    if len(one.differences) > DIFFERENCES_SHOWN:
        text.append(f"  … and {len(one.differences) - DIFFERENCES_SHOWN} more (--json, --report FILE)")
    slips = [slip for slip in one.slips if slip.worst_ticks]
    cells = [
        (s.symbol, f"{s.pairs} pairs", f"entry {s.entry_ticks:+.2f}", f"exit {s.exit_ticks:+.2f} ticks worse",
         f"worst {s.worst_ticks:+.2f}", f"{s.entry_late_s:+.0f} s later")
        for s in slips
    ]  # fmt: skip
    return text + (showing.table(cells) if cells else [])


def as_json(found: Verdict) -> dict[str, Any]:
    """The same for programs; curves are left to the report."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    plain.pop("curves")
    for one, struct in zip(plain["comparisons"], found.comparisons, strict=True):
        one |= {name: getattr(struct, name) for name in ("share", "discrepancy", "clean_days", "unexplained")}
        for day, row in zip(one["days"], struct.days, strict=True):
            day["is_clean"] = row.is_clean
    return plain | {"is_alarm": found.is_alarm}


# -- what is kept --


def keep(state: Path, found: Verdict) -> Path:
    """Where the dashboard and alerts look. Raises ConfigError if that cannot be written."""
    path = verdict_path(state, found)
    _replace(path, msgspec.json.encode(found))
    return path


def keep_expectation(state: Path, name: str, run: Run, ts_ns: int) -> Path | None:
    """What a backtest promises of a strategy; None if it has too few trades to promise anything. Raises ConfigError."""
    from rooney.performance.drift import expect

    found = expect(name, run.label, ts_ns, [trade.pnl_usd for trade in run.trades])
    if found is None:
        return None
    path = expectation_path(state, name)
    _replace(path, msgspec.json.encode(found))
    return path


def _replace(path: Path, data: bytes) -> None:
    try:
        groupfile.put(path.parent, path, data)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; the result is not kept") from None


def report(found: Verdict) -> str:
    """One HTML page that opens offline. Raises ConfigError without the dashboard's parts."""
    try:
        from rooney.dashboard.comparison import page
    except ImportError:
        raise ConfigError(
            "--report: needs the dashboard's templates (pip install 'rooney[dashboard]'); no report was written"
        ) from None
    at = datetime.fromtimestamp(found.ts_ns // _SECOND_NS, UTC)
    return page(found, f"made {at:%Y-%m-%d %H:%M:%S} UTC")
