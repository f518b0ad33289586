"""Verbs of history: import, download, check, and fill Redis."""

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rooney.cli.options import configured, instant, load
from rooney.errors import EXIT_ATTENTION, EXIT_FAILURE, EXIT_OK, ConfigError

if TYPE_CHECKING:
    from datetime import datetime


@click.group()
def data() -> None:
    """History: import, download and check it, and fill Redis with it."""
    from importlib.util import find_spec

    missing = [name for name in ("polars", "databento") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"rooney data needs {' and '.join(missing)}: install rooney[research,hub]")


@data.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The store.")
@click.option("--zone", help="Time zone of stamps that have none; without it they are refused.")
@click.option("--stamp", type=click.Choice(["open", "close"]), default="open", help="Which end of a bar is stamped.")
@click.option(
    "--timeframe", type=click.Choice(["1min", "hourly", "daily"]), default="1min", help="Of files that do not say."
)
@click.option("--root", help="Root of files without symbols.")
@click.option("--contract", help="Contract (ESZ5) of files without symbols.")
@click.option("--replace", is_flag=True, help="A bar that differs from the stored one takes its place.")
@click.option("--strict", is_flag=True, help="Write nothing if anything is wrong; exit 1.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def data_import(
    paths: tuple[Path, ...],
    to: Path,
    zone: str | None,
    stamp: str,
    timeframe: str,
    root: str | None,
    contract: str | None,
    replace: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Check bars in Parquet, CSV or DBN files and put them into a store."""
    from research.data.command import run_import
    from research.data.sources import Reading

    reading = Reading(zone, timeframe, root, contract)
    sys.exit(run_import(paths, to, reading, stamp=stamp, strict=strict, replace=replace, as_json=as_json))


@data.command("download")
@click.argument("roots", nargs=-1, required=True)
@click.option("--start", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First UTC day.")
@click.option("--end", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First UTC day left out.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The store.")
@click.option("--limit-usd", required=True, type=click.FloatRange(min=0), help="Refuse to buy for more than this.")
@click.option("--dry-run", is_flag=True, help="Show size and price only.")
@click.option("--env-file", type=click.Path(path_type=Path), help="File that holds DATABENTO_API_KEY.")
@click.option("--gateway", hidden=True, help="URL of a local stand-in for the historical API.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def data_download(
    roots: tuple[str, ...],
    start: "datetime",
    end: "datetime",
    to: Path,
    limit_usd: float,
    dry_run: bool,
    env_file: Path | None,
    gateway: str | None,
    as_json: bool,
) -> None:
    """Buy one-minute bars of all contracts of some roots from Databento, for at most --limit-usd.

    Size and price are shown first. What is on disk already is not bought again. The key is the credential
    databento_api_key or the variable DATABENTO_API_KEY.
    """
    from research.data.command import run_download
    from rooney.market.instruments import PRODUCTS
    from rooney.secrets import credentials_directory, expand, read_credential, read_env_file

    unknown = [root for root in roots if root not in PRODUCTS]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: no such root; known are {', '.join(PRODUCTS)}")
    if env_file is not None:
        read_env_file(env_file, os.environ)
    found = read_credential("databento.api_key", credentials_directory(os.environ), "databento_api_key")
    key = found.reveal() if found else expand("databento.api_key", "${DATABENTO_API_KEY}", os.environ)
    span = start.date(), end.date()
    sys.exit(run_download(roots, *span, to, limit_usd, key, gateway, dry_run=dry_run, as_json=as_json))


@data.command("check")
@click.argument("directory", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def data_check(directory: Path, as_json: bool) -> None:
    """Check a store again: every bar, gaps, downloads that were cut off."""
    from research.data.command import run_check

    sys.exit(run_check(directory, as_json))


@data.command("fill")
@click.argument("directory", type=click.Path(path_type=Path, exists=True))
@configured
@click.option("--until", help="Fill what was closed by then (ISO time, UTC) [now].")
@click.option("--json", "as_json", is_flag=True, help="What was filled as JSON.")
def data_fill(
    directory: Path,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    until: str | None,
    as_json: bool,
) -> None:
    """Fill Redis with a store's history, so that workers start warm. Adds what is missing, changes nothing."""
    from research.data.prefill import past_of
    from rooney.bus.keys import HISTORY_LENGTH
    from rooney.bus.prefill import fill
    from rooney.bus.publisher import Publisher

    config = load(config_path, overrides, env_file)
    end = instant(until, "--until")
    until_ns = time.time_ns() if end is None else int(end.timestamp()) * 1_000_000_000
    bus = Publisher.to(config.data_hub())
    bus.ping()
    filled, absent = [], []
    with click.progressbar(config.instruments(), label="filling", file=sys.stderr, item_show_func=str) as roots:
        for root in roots:
            past = past_of(directory, root, until_ns, HISTORY_LENGTH)
            if past is None:
                absent.append(root)
            else:
                filled.append(fill(bus, root, past.bars, past.rolls, past.counts, past.front))
    code = EXIT_FAILURE if not filled else EXIT_ATTENTION if absent or any(one.short for one in filled) else EXIT_OK
    if as_json:
        click.echo(json.dumps({"exit": code, "filled": [one.as_dict() for one in filled], "absent": absent}))
    else:
        for one in filled:
            click.echo(one.text())
        if absent:
            click.echo(f"not in {directory}: {', '.join(absent)}")
    sys.exit(code)


VERBS: tuple[click.Command, ...] = (data,)
