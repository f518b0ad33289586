"""A process at work on a study of a parabola: STORAGE NAME TRIALS SECONDS-PER-TRIAL. Says so when it begins a trial."""

import sys
import time
from typing import Any

from research.optimize import study


def attempt(trial: Any) -> float:
    study.beat(trial)
    x = float(trial.suggest_float("x", -1.0, 1.0))
    print(trial.number, flush=True)
    time.sleep(float(sys.argv[4]))
    return -(x**2)


if __name__ == "__main__":
    study.run(study.open_study(sys.argv[1], sys.argv[2], 0, 5), int(sys.argv[3]), attempt)
