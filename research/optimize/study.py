"""A study that any number of processes share: Optuna's journal, in a file on one host or on Redis across hosts.

What a trial proposes depends on the seed, its place in the study and the trials before it alone, so one process that
is stopped and started again ends where an uninterrupted one does. Finished trials are in the journal; a process that
dies loses at most the trial it was in. Others notice: a running trial says who works on it and when it last got on, and
one whose process is gone, or that has not got on for `DEAD_AFTER_S`, is told failed and made up for by another.
"""

import hashlib
import os
import socket
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import optuna
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend
from optuna.trial import TrialState

from rooney.errors import ConfigError

DEAD_AFTER_S = 300.0
WORKER, BEAT = "worker", "beat"  # of a running trial: host:pid, and when it last got on, s since 1970
_PATIENCE_S = 0.5
_OVER = (TrialState.COMPLETE, TrialState.PRUNED)


class Seeded(BaseSampler):
    """TPE whose every trial draws from a seed of its own. Trials that failed count for nothing."""

    def __init__(self, seed: int, n_startup: int) -> None:
        self._seed, self._n_startup = seed, n_startup
        self._tpe = TPESampler(seed=seed, n_startup_trials=n_startup)

    def before_trial(self, study: Any, trial: Any) -> None:
        before = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        place = trial.number - sum(other.number < trial.number for other in before)
        mixed = hashlib.sha256(f"{self._seed}/{place}".encode()).digest()
        seed = int.from_bytes(mixed[:4], "big")
        self._tpe = TPESampler(seed=seed, n_startup_trials=self._n_startup)

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)


def open_study(storage: str, name: str, seed: int, n_startup: int) -> Any:
    """The study of that name, made if there is none. storage: path of a file, redis://HOST:PORT[/DB] or unix://SOCKET

    Trials below the median of the others at the same point of history are pruned. Raises ConfigError for a storage
    that cannot be used. A password of Redis comes from the variable REDIS_PASSWORD, never from a command line.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=n_startup, n_warmup_steps=3)
    try:
        with warnings.catch_warnings():  # Redis is "experimental" in Optuna since 2022
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            journal = JournalStorage(_backend(storage))
            return optuna.create_study(
                storage=journal,
                study_name=name,
                direction="maximize",
                load_if_exists=True,
                sampler=Seeded(seed, n_startup),
                pruner=pruner,
            )
    except (OSError, _redis_error()) as error:
        raise ConfigError(f"--storage: {storage} cannot be used: {error}; nothing was searched") from error


def _backend(storage: str) -> Any:
    if "://" not in storage:
        path = Path(storage)
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalFileBackend(str(path))
    parts = urlsplit(storage)
    if parts.scheme == "unix":
        return JournalRedisBackend(storage, prefix="rooney-study")
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ConfigError("--storage: expected a file, redis://HOST:PORT[/DB] or unix://SOCKET; nothing was searched")
    if parts.password is not None:
        raise ConfigError(
            "--storage: a password is seen by everybody there; put it in REDIS_PASSWORD; nothing searched"
        )
    if password := os.environ.get("REDIS_PASSWORD"):
        parts = parts._replace(
            netloc=f"{quote(parts.username or '')}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}"
        )
    return JournalRedisBackend(parts.geturl(), prefix="rooney-study")


def _redis_error() -> type[Exception]:
    from redis.exceptions import RedisError

    return RedisError


def run(
    study: Any, n_trials: int, attempt: Callable[[Any], float], told: Callable[[int, list[str]], None] | None = None
) -> None:
    """Make trials until the study has so many, beside whoever else does.

    told: called before each trial, and while waiting, with how many have finished and which workers were found dead
    """
    while True:
        dead = bury(study)
        n, busy = len(over(study)), len(running(study))
        if told is not None:
            told(n, dead)
        if n + busy < n_trials:
            study.optimize(attempt, n_trials=1)
        elif busy:
            time.sleep(_PATIENCE_S)  # what is being tried is waited for: its worker may die
        else:
            return


def over(study: Any) -> list[Any]:
    """Trials that have a result, by number."""
    found: list[Any] = study.get_trials(deepcopy=False, states=_OVER)
    return found


def running(study: Any) -> list[Any]:
    """Trials somebody is at work on."""
    found: list[Any] = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return found


def beat(trial: Any) -> None:
    """Say that the trial gets on."""
    trial.set_user_attr(WORKER, f"{socket.gethostname()}:{os.getpid()}")
    trial.set_user_attr(BEAT, time.time())


def bury(study: Any) -> list[str]:
    """Tell the trials of dead workers failed; which workers those were."""
    found = []
    for trial in running(study):
        worker = str(trial.user_attrs.get(WORKER, ""))
        since = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        last = float(trial.user_attrs.get(BEAT, since))
        if _is_gone(worker) or time.time() - last > DEAD_AFTER_S:
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
                continue  # another one has just told so, or it came back
            found.append(worker or "a worker")
    return found


def _is_gone(worker: str) -> bool:
    """True for a process of this host that no longer exists."""
    host, _, pid = worker.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
