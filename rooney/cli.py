"""The `rooney` command. Heavy parts are imported by the verb that needs them."""

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol

import click

from rooney import __version__
from rooney.errors import (
    EXIT_ATTENTION,
    EXIT_CONFIG,
    EXIT_FAILURE,
    EXIT_OK,
    ConfigError,
    LedgerError,
    RooneyError,
)
from rooney.operate.verbs import VERBS
from rooney.options import configured as _configured
from rooney.options import load as _load

if TYPE_CHECKING:
    from datetime import datetime

    from rooney.bus import Bus
    from rooney.config import Config
    from rooney.messages import Bar


class _Process(Protocol):
    def run(self) -> int: ...
    def stop(self) -> None: ...


def main() -> None:
    """Entry point: every error of ours is one line and an exit status."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_CONFIG)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (ConfigError, LedgerError) as error:
        click.echo(f"rooney: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    except RooneyError as error:
        click.echo(f"rooney: {error}", err=True)
        sys.exit(EXIT_FAILURE)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rooney")
def cli() -> None:
    """Trade CME futures with several independent strategies."""


for _verb in VERBS:
    cli.add_command(_verb)


def _run(process: _Process) -> None:
    """Run until done; SIGTERM and SIGINT end it cleanly."""

    def end(signum: int, frame: FrameType | None) -> None:
        process.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    sys.exit(process.run())


@cli.command()
@_configured
@click.option("--start", help="Where an empty tape begins (ISO time, UTC) [the open of the session].")
def hub(config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, start: str | None) -> None:
    """Receive trades, build bars, publish them."""
    from rooney import log
    from rooney.hub import build

    log.setup("hub")
    # The client logs each of thousands of mappings; what matters of it is logged by the feed.
    logging.getLogger("databento").setLevel(logging.WARNING)
    begin = _time(start, "--start")
    start_ns = int(begin.timestamp()) * 1_000_000_000 if begin else None
    _run(build(_load(config_path, overrides, env_file), start_ns=start_ns))


@cli.command()
@click.argument("name")
@_configured
@click.option("--state", type=click.Path(path_type=Path), help="Directory of the ledger [$STATE_DIRECTORY].")
@click.option("--clock", type=click.Choice(["live", "replay"]), default="live", help="Time: the wall's or the tape's.")
def worker(
    name: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    state: Path | None,
    clock: str,
) -> None:
    """Run one strategy."""
    from rooney import log
    from rooney.worker import build

    log.setup("worker", name)
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    directory = state or (Path(given) if given else Path("/var/lib/rooney") / name)
    _run(build(_load(config_path, overrides, env_file), name, state=directory, replay=clock == "replay"))


@cli.command()
@_configured
@click.option("--offline", is_flag=True, help="Leave out Redis, the hub and the clock.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def check(
    config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, offline: bool, as_json: bool
) -> None:
    """Say what would stop a start, before it does."""
    from rooney.check import findings

    config = _load(config_path, overrides, env_file)
    found = findings(config, online=not offline, now_ns=time.time_ns)
    levels = {finding.level for finding in found}
    away = any(finding.level == "warning" and finding.path in ("data_hub", "clock") for finding in found)
    code = EXIT_CONFIG if "error" in levels else EXIT_ATTENTION if away else EXIT_OK
    if as_json:
        click.echo(json.dumps({"exit": code, "findings": [finding._asdict() for finding in found]}))
    else:
        for finding in found:
            click.echo(f"{finding.level:<8}{finding.path}: {finding.text}")
        strategies = ", ".join(config.names) or "none"
        verdict = {EXIT_OK: "ok", EXIT_ATTENTION: "attention"}.get(code, "would not start")
        click.echo(f"{verdict}: {config.path}, {len(config.file.instruments)} instruments, strategies {strategies}")
    sys.exit(code)


@cli.command()
@click.argument("symbol", required=False)
@_configured
@click.option("--timeframe", type=click.Choice(["1min", "hourly", "daily"]), default="1min", show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Print bars as they are published, until interrupted.")
@click.option("--count", "-n", default=10, show_default=True, help="Bars per instrument.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def bars(
    symbol: str | None,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    timeframe: str,
    follow: bool,
    count: int,
    as_json: bool,
) -> None:
    """Print published bars."""
    config = _load(config_path, overrides, env_file)
    symbols = [symbol] if symbol else list(config.instruments())
    if symbol is not None and symbol not in config.instruments():
        raise ConfigError(f"instruments.{symbol}: no such instrument; configured are {', '.join(config.instruments())}")
    bus = _bus(config)
    for one in symbols:
        for bar in bus.history(one, timeframe, count):
            _print_bar(bar, as_json)
    if follow:
        wanted = set(symbols)

        def on_bar(bar: "Bar") -> bool:
            if bar.symbol in wanted:
                _print_bar(bar, as_json)
            return True

        try:
            bus.listen(f"market:*:{timeframe}", on_bar)
        except KeyboardInterrupt:
            return


@cli.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Replay trades: Parquet, DBN, or a folder.")
@click.option("--speed", default="max", show_default=True, help="Market seconds per second, or max.")
@click.option("--minutes", type=click.IntRange(min=1), help="Stop after so many minutes of market time.")
@click.option("--seed", default=0, show_default=True, help="Seed of the synthetic market.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep bars, ledgers, webhooks and summary here.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, last.")
def demo(data: Path | None, speed: str, minutes: int | None, seed: int, out: Path | None, as_json: bool) -> None:
    """Run the whole system here, without any account; ends by itself."""
    from rooney.sim.show import run_demo

    try:
        pace = 0.0 if speed == "max" else float(speed)
    except ValueError as error:
        raise ConfigError(f"--speed: expected max or a number above 0, got {speed!r}") from error
    if speed != "max" and not 0 < pace < 1e9:
        raise ConfigError(f"--speed: expected max or a number above 0, got {speed!r}")
    sys.exit(run_demo(data=data, speed=pace, minutes=minutes, seed=seed, out=out, as_json=as_json))


@cli.command()
@click.argument("name")
@_configured
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="Parquet, DBN, or a folder.")
@click.option("--start", help="First instant (ISO time, UTC).")
@click.option("--end", help="First instant left out.")
@click.option("--symbols", help="Only these of the strategy's instruments: ES,NQ.")
@click.option("--out", type=click.Path(path_type=Path), help="Write trades, equity, summary and report here.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def backtest(
    name: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    data: Path,
    start: str | None,
    end: str | None,
    symbols: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run a strategy over history, on the very step that trades."""
    from research.command import run_backtest

    if symbols is not None:
        overrides = (*overrides, f"strategies.{name}.instruments=[{symbols}]")
    config = _load(config_path, overrides, env_file)
    span = _time(start, "--start"), _time(end, "--end")
    run_backtest(config.strategy(name), data, *span, out, as_json)


@cli.group()
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
    from rooney.instruments import PRODUCTS
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
@_configured
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
    from research.data.past import past_of
    from rooney.bus import HISTORY_LENGTH
    from rooney.prefill import fill

    config = _load(config_path, overrides, env_file)
    end = _time(until, "--until")
    until_ns = time.time_ns() if end is None else int(end.timestamp()) * 1_000_000_000
    bus = _bus(config)
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


def _bus(config: "Config") -> "Bus":
    from rooney.bus import Bus

    block = config.data_hub()
    return Bus.to(block)


def _print_bar(bar: "Bar", as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(json.dumps(msgspec.structs.asdict(bar)))
        return
    opened = time.strftime("%Y-%m-%d %H:%M", time.gmtime(bar.ts_open // 1_000_000_000))
    prices = f"{bar.open:>12g} {bar.high:>12g} {bar.low:>12g} {bar.close:>12g}"
    click.echo(f"{opened}Z {bar.symbol:<4}{bar.contract:<7}{bar.timeframe:<7}{prices} {bar.volume:>9d}")


def _time(text: str | None, option: str) -> "datetime | None":
    from datetime import UTC, datetime

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option}: expected an ISO time such as 2026-03-10T22:00, got {text!r}") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)
