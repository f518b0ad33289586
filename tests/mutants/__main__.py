"""Every mutant before the tests that have to notice it: `python -m tests.mutants [--jobs N] [PART…]`."""

import argparse
import os
import sys
import time
from collections import Counter

from tests.mutants.mutants import SURVIVORS, TARGETS, mutants, survivors
from tests.mutants.runs import KILLED, SURVIVED, TIMED_OUT, verdicts


def main() -> None:
    """Print a tally by module and whatever is not as the list of survivors says; status 1 then."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at a time (default: one per core)")
    parser.add_argument("parts", nargs="*", metavar="PART", help="of a mutant's line; default: all mutants")
    options = parser.parse_args()
    started_s = time.monotonic()
    known = survivors()
    chosen = [each for each in mutants() if all(part in each.key for part in options.parts)]
    if not chosen:
        parser.error("no such mutant")
    targets = [target for target in TARGETS if any(each.target == target for each in chosen)]
    cases = [*((each.target, each) for each in chosen), *((target, None) for target in targets)]
    tally: Counter[tuple[str, str]] = Counter()
    wrong = []
    for number, verdict in verdicts(cases, options.jobs):
        target, mutant = cases[number]
        is_dead = verdict in (KILLED, TIMED_OUT)
        if mutant is None:
            if verdict != SURVIVED:
                wrong.append(f"{verdict}: {' '.join(target.tests)} with the code as it is, so the rest says nothing")
            continue
        tally[target.module, verdict] += 1
        if not is_dead and mutant.key not in known:
            wrong.append(f"{verdict}: {mutant.key}")
        elif is_dead and mutant.key in known:
            wrong.append(f"{verdict}, so take it from {SURVIVORS.name}: {mutant.key}")
    total: Counter[str] = Counter()
    for (module, verdict), count in sorted(tally.items()):
        print(f"{count:>6}  {verdict:<10}{module}")
        total[verdict] += count
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(total.items()))
    print(f"{len(chosen)} mutants in {time.monotonic() - started_s:.0f} s: {said}")
    print("\n".join(sorted(wrong)))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
