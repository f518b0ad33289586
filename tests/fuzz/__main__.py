"""The fuzzers by hand, for as long as you like: `python -m tests.fuzz [--cases N] [--seed S] [NAME…]`."""

import argparse
import sys
import time

from tests.fuzz import fuzzers


def main() -> None:
    """Run them one after the other and print each one's tally, by reader and verdict."""
    known = fuzzers()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000, help="for each fuzzer (default: 1,000,000)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="default: another every time")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(known)}")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"no fuzzer {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    failed = False
    for name in options.names or known:
        started_s = time.monotonic()
        try:
            tally = known[name].run(options.cases, options.seed)
        except AssertionError as error:
            print(f"{name}: FAILED, seed {options.seed}\n    {error}")
            failed = True
            continue
        print(f"{name}: {sum(tally.values()):,} cases in {time.monotonic() - started_s:.0f} s, seed {options.seed}")
        for verdict, count in sorted(tally.items()):
            print(f"    {count:>12,}  {verdict}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
