"""Hub, Redis and worker killed at random while a market goes on: the ledger ends as if nothing had happened.

Real processes, the real client at the local gateway, the real webhook client. The worker is killed outside of
[sending, outcome], where equality is promised; inside of it, see tests/worker and test_order_safety. While the hub is
down the market stands still: what it would have missed are minutes of a dead feed, on which no entry is sent
(test_dead_feed).
"""

import contextlib
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from rooney.errors import BusError
from rooney.market.sessions import MINUTE_NS, SECOND_NS
from rooney.sim.databento.gateway import Gateway
from rooney.sim.databento.sources import Until
from rooney.sim.market import Market
from rooney.sim.traderspost import Account
from tests.support.gateways import running as running_gateway
from tests.support.hub import hub_process, parents
from tests.support.ledgers import contents
from tests.support.paths import ROOT
from tests.support.private_redis import PrivateRedis, private_redis
from tests.support.times import chicago
from tests.support.webhooks import running as running_webhook
from tests.support.workers import Zygote

BEGIN, END = chicago("2026-03-11 13:30"), chicago("2026-03-11 14:45")
SPEED = 1_200.0
ROOTS = parents("ES", "NQ")
ACCOUNT = Account("a", "11111111-2222-4333-8444-555566667777", "pw")
PLACES = ("in_mark_commit", "after_mark_commit", "before_send", "after_outcome")


def run(zygote: Zygote, directory: Path, redis: PrivateRedis, rng: random.Random | None, kills: int) -> Any:
    """75 minutes of a market; what the ledger holds then. rng: chooses what is killed when; None: nothing."""
    directory.mkdir()
    log, webhooks = directory / "worker.log", directory / "webhooks.jsonl"
    market = Until(Market(roots=["ES", "NQ"], trades_per_minute=60), END)
    victims = Counter(rng.choices(("hub", "redis", "worker"), k=kills)) if rng else Counter()
    at, faults = plan(rng, victims) if rng else ([], [])
    done: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        vendor = stack.enter_context(running_webhook([ACCOUNT], log=webhooks, rate_limit=False))
        gateway = stack.enter_context(running_gateway(Gateway(market, speed=SPEED, begin_ns=BEGIN, until_ns=END)))
        gateway.clock.end_ns = END + 2 * SECOND_NS  # not a minute more, however late the last trade is read
        env = {
            "WEBHOOK": vendor.url("a"),
            "ROONEY_RUNTIME_DIRECTORY": str(directory / "run"),
        }
        argv = ["worker", "a", "--config", str(_configuration(directory, redis)), "--clock", "replay"]
        argv += ["--state", str(directory / "a")]

        def start_worker() -> Any:
            return zygote.start(argv, log, env | {"ROONEY_FAULT": faults.pop(0) if faults else ""})

        def start_hub() -> Any:
            return hub_process(redis, gateway.port, ROOTS, "2026-03-11T18:30:00Z", name=f"hub{done['hub']}")

        worker = start_worker()
        _until(lambda: log.exists() and "ready:" in log.read_text())
        hub = start_hub()
        stack.callback(lambda: hub.stop())
        ledger = directory / "a" / "ledger.sqlite"
        end = time.monotonic() + 240
        while _position(ledger) < END:
            assert time.monotonic() < end, (log.read_text()[-2000:], hub.tail())
            if not Path(f"/proc/{worker.pid}").exists():
                assert worker.wait() == -signal.SIGKILL, log.read_text()[-2000:]
                done["worker"] += 1
                worker = start_worker()
            if at and _tape_end(redis) >= at[0][0]:
                _, victim = at.pop(0)
                done[victim] += 1
                if victim == "hub":
                    _hold(gateway, redis)
                    before = len(gateway.sessions)
                    hub.process.kill()
                    hub.stop()
                    hub = start_hub()
                    _until(lambda before=before: any(one.replays for one in gateway.sessions[before:]))
                    gateway.clock.go()
                else:
                    redis.stop(kill=True)
                    redis.start()
            time.sleep(0.02)
        assert worker.kill(signal.SIGTERM) == 0, log.read_text()[-2000:]
    assert done == victims
    sent = [line for line in webhooks.read_text().splitlines() if '"effect":"entry"' in line]
    return contents(ledger), done, len(sent)


def plan(rng: random.Random, victims: Counter[str]) -> tuple[list[tuple[int, str]], list[str]]:
    """Market times at which hub and Redis are killed, and the places at which one worker after the other dies."""
    span_ns = END - BEGIN
    others = [name for name in ("hub", "redis") for _ in range(victims[name])]
    at = sorted((BEGIN + int(span_ns * rng.uniform(0.05, 0.9)), name) for name in others)
    longest = span_ns // MINUTE_NS // (victims["worker"] + 1)  # a place is passed once or more in a minute
    return at, [f"{rng.choice(PLACES)}:{rng.randrange(1, longest + 1)}" for _ in range(victims["worker"])]


def _hold(gateway: Gateway, redis: PrivateRedis) -> None:
    """Stop the market in mid-minute, the minute before on the tape."""
    while (now_ns := gateway.clock.hold()) % MINUTE_NS < MINUTE_NS // 4:
        gateway.clock.go()
        time.sleep(15 / SPEED)
    _until(lambda: _tape_end(redis) >= now_ns - now_ns % MINUTE_NS)


def _configuration(directory: Path, redis: PrivateRedis) -> Path:
    path = directory / "config.yml"
    block = {
        "strategy": str(ROOT / "bench" / "often.py"),
        "mode": "paper",
        "broker_account": "${WEBHOOK}",
        "instruments": ["ES", "NQ"],
        "reentry_wait_s": 0,
        "daily_stop_loss": 1e9,
    }
    config = {
        "data_hub": {"redis_socket": redis.socket},
        "instruments": {"ES": {}, "NQ": {}},
        "strategies": {"a": block},
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _until(done: Any) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def _position(ledger: Path) -> int:
    from tests.support.ledgers import read_only

    if not ledger.exists():
        return 0
    with contextlib.suppress(Exception), read_only(ledger) as db:
        row = db.execute("SELECT ts_mark FROM status").fetchone()
        return row[0] if row else 0
    return 0


def _tape_end(redis: PrivateRedis) -> int:
    with contextlib.suppress(BusError), contextlib.closing(redis.bus()) as bus:
        bounds = bus.tape_bounds()
        return bounds[1] if bounds else 0
    return 0


def compare(zygote: Zygote, directory: Path, seeds: range, kills: int) -> Counter[str]:
    """An undisturbed run and one per seed; returns how often what was killed."""
    with private_redis() as redis:
        wanted, _, entries = run(zygote, directory / "whole", redis, None, 0)
    assert entries > 30
    total: Counter[str] = Counter()
    for seed in seeds:
        with private_redis() as redis:
            found, done, sent = run(zygote, directory / f"seed{seed}", redis, random.Random(seed), kills)
        for table in wanted:
            assert found[table] == wanted[table], (seed, table)
        assert sent == entries
        total += done
    return total


def test_hub_redis_and_worker_killed_at_random_leave_the_ledger_of_an_undisturbed_day(
    zygote: Zygote, tmp_path: Path
) -> None:
    assert sum(compare(zygote, tmp_path, range(1), 6).values()) >= 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills_leave_the_ledger_of_an_undisturbed_day(
    zygote: Zygote, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    total = compare(zygote, tmp_path, range(1, 5), 15)
    with capsys.disabled():
        print(f"\n{sum(total.values())} kills, each day's ledger equal to the undisturbed one's: {dict(total)}")
    assert sum(total.values()) >= 50
