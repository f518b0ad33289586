"""`python -m rooney.ops.warm NAME`: compile a strategy's kernels into $NUMBA_CACHE_DIR, where its worker finds them.

The installer runs it as the worker's user before it switches versions, so that a restart compiles nothing; it refuses
what the worker would refuse of the configuration and the strategy's file, without a credential.
"""

import argparse
import sys

from rooney.config.loader import load_config
from rooney.errors import EXIT_CONFIG, EXIT_OK, ConfigError


def main(arguments: list[str] | None = None) -> int:
    """0, or 78 with a line that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m rooney.ops.warm", description="Compile a strategy's kernels.")
    parser.add_argument("--config", required=True)
    parser.add_argument("--names", action="store_true", help="only print the enabled strategies")
    parser.add_argument("name", nargs="?")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.names:
            print("\n".join(name for name in config.names if config.strategy(name).settings.enabled))
        if options.name:
            from rooney.engine.build import build_engine  # the compiler, not needed for names

            strategy = config.strategy(options.name)
            build_engine(strategy).compile()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
