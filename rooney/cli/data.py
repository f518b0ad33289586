"""Verbs of history: import, download, check, and fill Redis."""

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rooney.cli.options import EXISTING, PATH, TIMEFRAME, Call, formerly, instant_ns, needs, takes
from rooney.errors import EXIT_ATTENTION, EXIT_FAILURE, EXIT_OK, ConfigError

if TYPE_CHECKING:
    from datetime import datetime

    from research.history.findings import Finding


@click.group()
def data() -> None:
    """History: import, download and check it, and fill Redis with it."""
    needs("data", "polars", "databento", extras="research,hub")


@data.command("import")
@click.argument("paths", nargs=-1, required=True, type=EXISTING)
@click.option("--out", required=True, type=PATH, help="The store.")
@formerly("--to", "out", type=PATH)
@click.option("--zone", help="Time zone of stamps that have none; without it they are refused.")
@click.option("--stamp", type=click.Choice(["open", "close"]), default="open", help="Which end of a bar is stamped.")
@click.option("--timeframe", type=TIMEFRAME, help="Of files that do not say [as their bars are spaced].")
@click.option("--root", help="Root of files without symbols.")
@click.option("--contract", help="Contract (ESZ5) of files without symbols.")
@click.option("--replace", is_flag=True, help="A bar that differs from the stored one takes its place.")
@click.option("--strict", is_flag=True, help="Write nothing if anything is wrong; exit 1.")
@takes("json")
def data_import(
    call: Call,
    paths: tuple[Path, ...],
    out: Path,
    zone: str | None,
    stamp: str,
    timeframe: str | None,
    root: str | None,
    contract: str | None,
    replace: bool,
    strict: bool,
) -> None:
    """Check bars in Parquet, CSV or DBN files and put them into a store."""
    from research.data.importing import import_files
    from research.data.sources import Reading

    reading = Reading(zone, timeframe, root, contract)
    done = import_files(paths, out, reading, stamp=stamp, strict=strict, replace=replace)
    added = done.added
    code = EXIT_OK
    if done.is_refused or any(finding.kind == "refused" for finding in done.findings):
        code = EXIT_ATTENTION
    if not done.is_refused and not added.new + added.known + added.replaced:
        code = EXIT_FAILURE
    if done.is_refused:
        line = f"strict: nothing was written to {out}"
    else:
        more = f", {added.replaced:,} replaced" if added.replaced else ""
        line = f"{done.files} files: {added.new:,} bars new, {added.known:,} known{more}: {out}"
    counts = {"files": done.files, "new": added.new, "known": added.known, "replaced": added.replaced}
    result = {**counts, "written": not done.is_refused, "findings": done.findings}
    call.say(result, [*_finding_lines(done.findings), line], code)


@data.command("download")
@click.argument("roots", nargs=-1, required=True)
@click.option("--start", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First UTC day.")
@click.option("--end", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First UTC day left out.")
@click.option("--out", required=True, type=PATH, help="The store.")
@formerly("--to", "out", type=PATH)
@click.option("--limit-usd", required=True, type=click.FloatRange(min=0), help="Refuse to buy for more than this.")
@click.option("--dry-run", is_flag=True, help="Show size and price only.")
@click.option("--gateway", hidden=True, help="URL of a local stand-in for the historical API.")
@takes("env-file", "json")
def data_download(
    call: Call,
    roots: tuple[str, ...],
    start: "datetime",
    end: "datetime",
    out: Path,
    limit_usd: float,
    dry_run: bool,
    gateway: str | None,
) -> None:
    """Buy one-minute bars of all contracts of some roots from Databento, for at most --limit-usd.

    Size and price are shown first. What is on disk already is not bought again. The key is the credential
    databento_api_key or the variable DATABENTO_API_KEY.
    """
    from research.data import download
    from research.data.store import Added, Store
    from research.history.findings import Finding
    from rooney.market.instruments import PRODUCTS

    unknown = [root for root in roots if root not in PRODUCTS]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: no such root; known are {', '.join(PRODUCTS)}")
    key = _databento_key(call.env_file)
    store = Store(out)
    with store.writing():
        archive = download.Archive(store, key, gateway)
        until = archive.available_until()
        last = end.date()
        if (had := download.check_span(start.date(), last, until)) < last:
            click.echo(f"--end {last}: Databento has whole days before {until}; taking those", err=True)
        offers = [archive.offer(span) for root in roots for span in archive.missing(root, start.date(), had)]
        total_usd = sum(offer.cost_usd for offer in offers)
        for offer in offers:
            span = offer.span
            size = f"{offer.size_bytes / 1e6:>10,.1f} MB"
            click.echo(f"{span.root:<5}{span.start} to {span.end}{size}{offer.cost_usd:>10.2f} USD", err=True)
        total_mb = sum(offer.size_bytes for offer in offers) / 1e6
        click.echo(f"{'all':<27}{total_mb:>12,.1f} MB{total_usd:>10.2f} USD", err=True)
        is_refused = total_usd > limit_usd
        added, findings = Added(), list[Finding]()

        def store_new() -> None:
            nonlocal added
            for _, more, of_file in archive.import_new():
                added += more
                findings.extend(of_file)

        chunks = [] if is_refused or dry_run else [each for offer in offers for each in download.months(offer.span)]
        store_new()  # of a run that was cut off: paid for already
        with click.progressbar(chunks, label="downloading", file=sys.stderr, item_show_func=_month) as pieces:
            for chunk in pieces:
                archive.fetch(chunk)
                store_new()
    code = EXIT_ATTENTION if any(finding.problem for finding in findings) else EXIT_OK
    if is_refused:
        code = EXIT_FAILURE
        line = f"refused: {total_usd:.2f} USD is above --limit-usd {limit_usd:.2f}; nothing was bought"
    elif dry_run:
        line = "dry run: nothing was bought"
    else:
        line = f"{len(chunks)} downloads: {added.new:,} bars new, {added.known:,} known: {out}"
    counts = {"cost_usd": total_usd, "downloads": len(chunks), "new": added.new, "known": added.known}
    call.say({**counts, "findings": findings}, [*_finding_lines(findings), line], code)


def _databento_key(env_file: Path | None) -> str:
    """The key, from a credential or the environment. Raises ConfigError."""
    from rooney.secrets import credentials_directory, expand, read_credential, read_env_file

    if env_file is not None:
        read_env_file(env_file, os.environ)
    secret = read_credential("databento.api_key", credentials_directory(os.environ), "databento_api_key")
    return secret.reveal() if secret else expand("databento.api_key", "${DATABENTO_API_KEY}", os.environ)


def _month(span: Any) -> str:
    return f"{span.root} {span.start:%Y-%m}" if span is not None else ""


def _finding_lines(findings: "Sequence[Finding]") -> list[str]:
    """Every finding, then how many there are of each kind."""
    from research.history.findings import KINDS

    totals = Counter[str]()
    for finding in findings:
        totals[finding.kind] += finding.count
    lines = [line for finding in findings for line in finding.lines()]
    if totals:
        lines.append("findings: " + ", ".join(f"{kind} {totals[kind]:,}" for kind in KINDS if totals[kind]))
    return lines


@data.command("check")
@click.argument("directory", type=EXISTING)
@takes("json")
def data_check(call: Call, directory: Path) -> None:
    """Check a store again: every bar, gaps, downloads that were cut off."""
    from research.data.store_check import check_store

    findings, rows = check_store(directory)
    lines = _finding_lines(findings)
    for row in rows:
        span = f"{row['first']} to {row['last']}"
        bars = f"{row['bars']:>12,} bars  {row['contracts']} contracts"
        lines.append(f"{row['root']:<5}{row['timeframe']:<8}{span:<40}{bars}")
    code = EXIT_ATTENTION if any(finding.problem for finding in findings) else EXIT_OK
    call.say({"coverage": rows, "findings": findings}, lines, code)


@data.command("fill")
@click.argument("directory", type=EXISTING)
@click.option("--until", help="Fill what was closed by then (ISO time, UTC) [now].")
@takes("config", "json")
def data_fill(call: Call, directory: Path, until: str | None) -> None:
    """Fill Redis with a store's history, so that workers start warm. Adds what is missing, changes nothing."""
    from research.data.prefill import past_of
    from rooney.bus.keys import HISTORY_LENGTH
    from rooney.bus.prefill import fill
    from rooney.bus.publisher import Publisher

    config = call.load()
    given_ns = instant_ns(until, "--until")
    until_ns = time.time_ns() if given_ns is None else given_ns
    bus = Publisher(config.data_hub())
    bus.ping()
    filled, absent = [], []
    with click.progressbar(config.instruments(), label="filling", file=sys.stderr, item_show_func=str) as roots:
        for root in roots:
            past = past_of(directory, root, until_ns, HISTORY_LENGTH)
            if past is None:
                absent.append(root)
            else:
                filled.append(fill(bus, root, past.bars, past.rolls, past.counts, past.front))
    is_short = bool(absent) or any(each.short for each in filled)
    lines = [each.text() for each in filled]
    if absent:
        lines.append(f"not in {directory}: {', '.join(absent)}")
    code = EXIT_FAILURE if not filled else EXIT_ATTENTION if is_short else EXIT_OK
    call.say({"filled": [each.as_dict() for each in filled], "absent": absent}, lines, code)


VERBS: tuple[click.Command, ...] = (data,)
