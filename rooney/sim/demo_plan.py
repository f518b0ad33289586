"""Plan of a demo: the stretch of market that is streamed, and the configuration of its parts."""

import socket
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rooney.errors import ConfigError
from rooney.format import iso_minute
from rooney.market import sessions
from rooney.market.instruments import PRODUCTS, group_of
from rooney.market.sessions import MINUTE_NS
from rooney.sim.characters import CHARACTERS
from rooney.sim.databento.sources import Source, read
from rooney.sim.market import Market

# What each trades where the market has it, as the shipped configuration says: a backtest by that one is the same.
STRATEGIES = {"ibs": tuple(CHARACTERS), "breakout": ("ES", "NQ", "RTY", "YM", "CL")}
APART_NS = 7 * 24 * 60 * MINUTE_NS  # between trades of one recording; no holiday is that long
SESSION = date(2026, 3, 13)  # currencies roll at its open: five by the volume of the day before, 6C by its deadline


class Options(msgspec.Struct, frozen=True):
    """What the command line asked for.

    speed: market seconds per second, 0 = as fast as the client reads
    out: state folder that is left, with all a verb reads
    dashboard: pages while it streams
    bundles: folder with one of bundles for each strategy, by its name; without it nothing vetoes an entry
    """

    data: Path | None = None
    speed: float = 0.0
    minutes: int | None = None
    seed: int = 0
    out: Path | None = None
    as_json: bool = False
    bundles: Path | None = None
    dashboard: bool = False


class Plan(msgspec.Struct, frozen=True):
    """The stretch of market that is streamed; end_ns is the end of its last minute, source its trades."""

    roots: list[str]
    start_ns: int
    end_ns: int
    market_args: list[str]
    source: Source


def plan(options: Options) -> Plan:
    """What to stream. Raises ConfigError for data that cannot be."""
    if options.data is None:
        roots = list(CHARACTERS)
        start_ns = min(sessions.session_open_ns(group_of(root), SESSION) for root in roots)
        end_ns = max(sessions.session_close_ns(group_of(root), SESSION) for root in roots)
        market = ["--seed", str(options.seed), "--date", SESSION.isoformat()]
        source: Source = Market(options.seed, SESSION)
    else:
        source = recorded = read([options.data])
        found = {instrument.root for instrument in recorded.instruments}
        roots = [root for root in PRODUCTS if root in found]
        if not roots:
            raise ConfigError(f"{options.data}: none of its roots ({', '.join(sorted(found))}) is a known product")
        times = np.sort(recorded.trades["ts_recv"]).astype(np.int64)
        parts = np.split(times, np.flatnonzero(np.diff(times) > APART_NS) + 1)
        if len(parts) > 1:
            spans = " and ".join(f"{iso_minute(int(part[0]))} to {iso_minute(int(part[-1]))}" for part in parts)
            raise ConfigError(
                f"{options.data}: its trades are of {spans}: a demo streams every minute in between, so they may be "
                f"{APART_NS // (24 * 60 * MINUTE_NS)} days apart at most; choose one of the files. Nothing was started"
            )
        first, last = int(times[0]), int(times[-1])
        start_ns = first - first % MINUTE_NS
        end_ns = last - last % MINUTE_NS + MINUTE_NS
        market = ["--data", str(options.data)]
    if options.minutes is not None:
        end_ns = min(end_ns, start_ns + options.minutes * MINUTE_NS)
    return Plan(roots, start_ns, end_ns, market, source)


def configuration(roots: list[str], directory: Path, gateway_port: int, bundles: Path | None = None) -> dict[str, Any]:
    """The demo's configuration; secrets come from the environment, as they would."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    return {
        "databento": {"api_key": "${DATABENTO_API_KEY}", "gateway": "127.0.0.1", "port": gateway_port},
        "data_hub": {"redis_socket": str(directory / "redis.sock")},
        "instruments": {root: {} for root in roots},
        "strategies": {
            name: {
                "mode": "paper",
                "broker_account": f"${{TRADERSPOST_{name.upper()}_WEBHOOK}}",
                "instruments": [root for root in roots if root in usual or bundles is not None] or roots,
                **({"bundle": str(bundles.absolute() / name)} if bundles is not None else {}),
            }
            for name, usual in STRATEGIES.items()
        },
        "dashboard": {"port": port},
    }
