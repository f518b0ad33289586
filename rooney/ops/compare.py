"""`rooney compare A B …`: lines and JSON of runs beside one another."""

from collections.abc import Sequence
from typing import Any

import msgspec

from rooney.errors import EXIT_ATTENTION, EXIT_OK
from rooney.format import minute_text, table, usd_text
from rooney.performance.runs import BAR_NS, Measures
from rooney.performance.verdict import Comparison, Verdict

DIFFERENCES_SHOWN = 40


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
    text = [head, *table(rows)]
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
    text = table([("decisions", str(found.audit.day), "since the start", "first that differs"), *rows])
    if not found.audit.is_same_code:
        text.append("  code or configuration is another one than the ledger was written with")
    for one in found.comparisons:
        text += _lines(one)
    return [*text, said(found)]


def measure_rows(runs: Sequence[Measures]) -> list[tuple[str, ...]]:
    """Label and a cell per run, of each measure any run can tell."""
    rows = []
    for name, label, form in (
        ("trades", "trades", ",d"),
        ("pnl_usd", "P&L, USD", "+,.2f"),
        ("win_rate", "win rate", ".1%"),
        ("profit_factor", "profit factor", ".2f"),
        ("expectancy_usd", "expectancy, USD", "+,.2f"),
        ("sharpe", "Sharpe", ".2f"),
        ("max_drawdown_usd", "max drawdown by closed trades, USD", ",.2f"),
        ("costs_usd", "costs, USD", ",.2f"),
        ("hours_held", "held, hours", ".2f"),
        ("decide_p50_ms", "bar to decision p50, ms", ".1f"),
        ("decide_p99_ms", "bar to decision p99, ms", ".1f"),
        ("send_p50_ms", "request to answer p50, ms", ".1f"),
    ):
        values = [getattr(run, name) for run in runs]
        if any(value is not None for value in values):
            rows.append((label, *("n/a" if value is None else format(value, form) for value in values)))
    return rows


def span(one: Comparison) -> str:
    """Stretch that was compared, in words."""
    apart = {ns: name for name, ns in BAR_NS.items()}.get(one.bar_ns, f"{one.bar_ns / 60e9:g} min")
    return f"{minute_text(one.begin_ns)} to {minute_text(one.end_ns)}, entries at most one {apart} bar apart"


def _lines(one: Comparison) -> list[str]:
    alone = one.trades_a - one.pairs, one.trades_b - one.pairs
    text = [
        f"{one.a} against {one.b}: {span(one)}",
        f"  {one.share:.1%} the same: {one.equal} of {one.pairs} pairs ({one.identical} in every number), "
        f"{alone[0]} only in {one.a}, {alone[1]} only in {one.b}",
        f"  P&L {usd_text(one.pnl_a_usd)} and {usd_text(one.pnl_b_usd)} USD; "
        f"{sum(day.is_clean for day in one.days)} of {len(one.days)} trade dates clean, "
        f"the last {one.clean_days} in a row",
    ]
    rows = [
        (
            minute_text(d.entry_ts),
            d.symbol,
            f"only {d.only}" if d.only else "both",
            usd_text(d.usd),
            str(d.cause),
            d.text,
        )
        for d in one.differences[:DIFFERENCES_SHOWN]
    ]
    text += table([("opened", "", "in", f"{one.b} less {one.a}, USD", "cause", ""), *rows]) if rows else []
    if len(one.differences) > DIFFERENCES_SHOWN:
        text.append(f"  … and {len(one.differences) - DIFFERENCES_SHOWN} more (--json, --report FILE)")
    slips = [slip for slip in one.slips if slip.worst_ticks]
    cells = [
        (
            s.symbol,
            f"{s.pairs} pairs",
            f"entry {s.entry_ticks:+.2f}",
            f"exit {s.exit_ticks:+.2f} ticks worse",
            f"worst {s.worst_ticks:+.2f}",
            f"{s.entry_late_s:+.0f} s later",
        )
        for s in slips
    ]
    return text + (table(cells) if cells else [])


def as_json(found: Verdict) -> dict[str, Any]:
    """The same for programs; curves are left to the report."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    plain.pop("curves")
    for one, struct in zip(plain["comparisons"], found.comparisons, strict=True):
        one |= {name: getattr(struct, name) for name in ("share", "discrepancy", "clean_days", "unexplained")}
        for day, row in zip(one["days"], struct.days, strict=True):
            day["is_clean"] = row.is_clean
    return plain | {"is_alarm": found.is_alarm}
