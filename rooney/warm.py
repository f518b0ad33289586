"""Old name of `rooney config strategies` and `rooney compile NAME --cache`: `python -m rooney.warm --config FILE`.

Installers of version 0.1.0 from before those verbs call it when they upgrade to this version: keep it as long as one of
them may be installed somewhere.
"""

import argparse
import sys

from rooney.cli import main as rooney


def main() -> None:
    """Print the enabled strategies (--names), or compile NAME into $NUMBA_CACHE_DIR."""
    parser = argparse.ArgumentParser(prog="python -m rooney.warm", description=main.__doc__)
    parser.add_argument("--config", required=True)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--names", action="store_true", help="only print the enabled strategies")
    wanted.add_argument("name", nargs="?")
    given = parser.parse_args()
    verb = ["config", "strategies"] if given.names else ["compile", given.name, "--cache"]
    sys.argv = ["rooney", *verb, "--config", given.config]
    rooney()


if __name__ == "__main__":
    main()
