"""The webhook as a process: `python -m rooney.sim.traderspost`."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rooney.errors import EXIT_CONFIG, EXIT_OK, ConfigError
from rooney.files import write_whole
from rooney.sim.traderspost.server import Server, read_accounts


async def _serve(server: Server, port: int, ready_file: Path | None) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await server.start(port)
    if ready_file is not None:
        write_whole(ready_file, f"{server.port}\n")
    await stopped.wait()
    await server.stop()


def main(arguments: Sequence[str] | None = None, server_of: Callable[..., Server] = Server) -> int:
    """Serve until SIGTERM or SIGINT. server_of: makes the server from its accounts and options."""
    parser = argparse.ArgumentParser(
        prog="python -m rooney.sim.traderspost", description="A local TradersPost on paper."
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, lets the system choose")
    parser.add_argument("--ready-file", type=Path, help="gets the port, once it listens")
    # By the environment, because a command line is everyone's to read.
    parser.add_argument(
        "--accounts",
        default=os.environ.get("ROONEY_SIM_ACCOUNTS", ""),
        help="NAME=UUID/PASSWORD, separated by commas (default: $ROONEY_SIM_ACCOUNTS)",
    )
    parser.add_argument("--log", type=Path, help="every request is appended here, one JSON object a line")
    parser.add_argument("--no-rate-limit", action="store_true", help="for replays, which are faster than time")
    parser.add_argument("--check-age", action="store_true", help="honour rejectAfter; not for replays")
    parser.add_argument("--planning-ms", type=float, default=0.0)
    parser.add_argument("--fill-ms", type=float, default=0.0)
    options = parser.parse_args(arguments)
    try:
        server = server_of(
            read_accounts(options.accounts),
            log=options.log,
            rate_limit=not options.no_rate_limit,
            check_age=options.check_age,
            planning_s=options.planning_ms / 1000,
            fill_s=options.fill_ms / 1000,
        )
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    asyncio.run(_serve(server, options.port, options.ready_file))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
