"""What `rooney data import`, `download` and `check` do and print; exit status 0 ok, 1 attention, 2 failure."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import polars as pl

from research.data.checks import check
from research.data.frame import KINDS, MAX_EXAMPLES, Example, Finding, refused
from research.data.importing import import_file
from research.data.sources import Reading, check_zone, files_of
from research.data.store import Added, Part, Store, misplaced
from rooney.errors import EXIT_ATTENTION, EXIT_FAILURE, EXIT_OK, ConfigError

if TYPE_CHECKING:
    from research.data.download import Span


def run_import(
    paths: Sequence[Path],
    to: Path,
    reading: Reading,
    *,
    stamp: str = "open",
    strict: bool = False,
    replace: bool = False,
    as_json: bool = False,
) -> int:
    """Read, check, store; strict: nothing is written if anything is wrong with any file."""
    if reading.zone is not None:
        check_zone(reading.zone)
    store, files = Store(to), files_of(paths)
    with store.writing():
        added: Added = Added()
        findings: list[Finding] = []
        if strict:
            for file in files:
                more, found = import_file(store, file, reading, stamp=stamp, replace=replace, write=False)
                added, findings = added + more, findings + found
        refusing = strict and any(finding.problem for finding in findings)
        if not refusing:
            added, findings = Added(), []
            for file in files:
                more, found = import_file(store, file, reading, stamp=stamp, replace=replace)
                added, findings = added + more, findings + found
    status = EXIT_OK
    if refusing or any(finding.kind == "refused" for finding in findings):
        status = EXIT_ATTENTION
    if not refusing and not added.new + added.known + added.replaced:
        status = EXIT_FAILURE
    if as_json:
        counts = {"files": len(files), "new": added.new, "known": added.known, "replaced": added.replaced}
        _print_json(status, findings, counts | {"written": not refusing})
        return status
    _print_findings(findings)
    if refusing:
        click.echo(f"strict: nothing was written to {to}")
    else:
        more_text = f", {added.replaced:,} replaced" if added.replaced else ""
        click.echo(f"{len(files)} files: {added.new:,} bars new, {added.known:,} known{more_text}: {to}")
    return status


def run_check(directory: Path, as_json: bool) -> int:
    """Everything in the store again: what was kept at import although it may be wrong, and what must never be there."""
    store = Store(directory)
    parts = store.parts()
    if not parts:
        raise ConfigError(f"{directory}: no store there: it has no ROOT/TIMEFRAME-YEAR.parquet")
    findings: list[Finding] = []
    coverage: dict[tuple[str, str], dict[str, Any]] = {}
    for part in parts:
        frame, found = _check_part(store, part)
        findings += found
        row = coverage.setdefault((part.root, part.timeframe), {"bars": 0, "first": None, "contracts": set()})
        if len(frame):
            row["bars"] += len(frame)
            row["first"] = row["first"] or frame["ts_open"].min()
            row["last"] = frame["ts_open"].max()
            row["contracts"] |= set(frame["contract"].unique())
    for cut in sorted(store.raw.rglob("*.part")):
        findings.append(Finding(str(cut), "unfinished", 1, [Example(None, f"{cut.stat().st_size:,} bytes")]))
    status = EXIT_ATTENTION if any(finding.problem for finding in findings) else EXIT_OK
    rows = [
        {
            "root": root,
            "timeframe": timeframe,
            "bars": row["bars"],
            "contracts": len(row["contracts"]),
            "first": f"{row['first']:%Y-%m-%dT%H:%MZ}" if row["first"] else "",
            "last": f"{row['last']:%Y-%m-%dT%H:%MZ}" if row["first"] else "",
        }
        for (root, timeframe), row in coverage.items()
    ]
    if as_json:
        _print_json(status, findings, {"coverage": rows})
        return status
    _print_findings(findings)
    for line in rows:
        span = f"{line['first']} to {line['last']}"
        click.echo(
            f"{line['root']:<5}{line['timeframe']:<8}{span:<40}{line['bars']:>12,} bars  {line['contracts']} contracts"
        )
    return status


def _check_part(store: Store, part: Part) -> tuple[pl.DataFrame, list[Finding]]:
    file = str(store.directory / part.name)
    try:
        bars = store.read(part)
    except ConfigError as error:
        return pl.DataFrame(), [refused(file, str(error))]
    frame = bars.with_row_index("row", offset=1).with_columns(
        pl.col("row").cast(pl.Int64), pl.col("volume").cast(float)
    )
    strange = misplaced(part, frame)
    found = check(file, frame, stored=True).findings
    if len(strange):
        examples = [Example(row, f"{r} {t} {ts:%Y}") for row, ts, r, _, t, *_ in strange.head(MAX_EXAMPLES).iter_rows()]
        found = [*found, Finding(file, "misplaced", len(strange), examples)]
    return bars, found


def run_download(
    roots: Sequence[str],
    start: date,
    end: date,
    to: Path,
    limit_usd: float,
    key: str,
    gateway: str | None = None,
    *,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Show what it costs, refuse above the limit, download what is missing, store it."""
    from research.data import download

    store = Store(to)
    with store.writing():
        archive = download.Archive(store, key, gateway)
        until = archive.available_until()
        if (had := download.check_span(start, end, until)) < end:
            click.echo(f"--end {end}: Databento has whole days before {until}; taking those", err=True)
        offers = [archive.offer(span) for root in roots for span in archive.missing(root, start, had)]
        total_usd = sum(offer.cost_usd for offer in offers)
        for offer in offers:
            span = offer.span
            size = f"{offer.size_bytes / 1e6:>10,.1f} MB"
            click.echo(f"{span.root:<5}{span.start} to {span.end}{size}{offer.cost_usd:>10.2f} USD", err=True)
        click.echo(f"{'all':<27}{sum(o.size_bytes for o in offers) / 1e6:>12,.1f} MB{total_usd:>10.2f} USD", err=True)
        refusing = total_usd > limit_usd
        added: Added = Added()
        findings: list[Finding] = []
        chunks = [] if refusing or dry_run else [piece for offer in offers for piece in download.months(offer.span)]
        for _, more, found in archive.import_new():  # of a run that was cut off: paid for already
            added, findings = added + more, findings + found
        with click.progressbar(chunks, label="downloading", file=sys.stderr, item_show_func=_shown) as pieces:
            for chunk in pieces:
                archive.fetch(chunk)
                for _, more, found in archive.import_new():
                    added, findings = added + more, findings + found
    status = EXIT_FAILURE if refusing else EXIT_ATTENTION if any(one.problem for one in findings) else EXIT_OK
    if as_json:
        counts = {"cost_usd": total_usd, "downloads": len(chunks), "new": added.new, "known": added.known}
        _print_json(status, findings, counts)
        return status
    _print_findings(findings)
    if refusing:
        click.echo(f"refused: {total_usd:.2f} USD is above --limit-usd {limit_usd:.2f}; nothing was bought")
    elif dry_run:
        click.echo("dry run: nothing was bought")
    else:
        click.echo(f"{len(chunks)} downloads: {added.new:,} bars new, {added.known:,} known: {to}")
    return status


def _shown(span: "Span | None") -> str:
    return f"{span.root} {span.start:%Y-%m}" if span is not None else ""


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        for line in finding.lines():
            click.echo(line)
    totals = Counter[str]()
    for finding in findings:
        totals[finding.kind] += finding.count
    if totals:
        click.echo("findings: " + ", ".join(f"{kind} {totals[kind]:,}" for kind in KINDS if totals[kind]))


def _print_json(status: int, findings: Sequence[Finding], more: dict[str, Any]) -> None:
    click.echo(json.dumps({"exit": status, **more, "findings": [msgspec.to_builtins(one) for one in findings]}))
