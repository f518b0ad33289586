"""What goes wrong with one unit, made to go wrong: minutes and orders come one by one, from here."""

import json
import re
import sys
import time
from collections.abc import Iterator

import pytest

from rooney.market.messages import Bar
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import Published
from tests.support.installed_system import HUB, World, worker
from tests.support.minutes import BUY, LEAVE, bar
from tests.support.minutes import minute as tape_entry
from tests.support.paths import TESTS
from tests.support.systemd_machine import Machine
from tests.support.times import chicago

UNIT = worker("scripted")
ALERT = "rooney-alert@rooney-worker@scripted.service"
QUICK = "[Service]\nRestartSec=100ms\n"


class Desk:
    """The strategy `scripted`, whose prices are commands, and the hand that publishes its minutes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.machine: Machine = world.machine
        self.now = max(world.tape_end(), chicago("2026-03-16 10:00"))

    def minute(self, **closes: float) -> int:
        """Publish one minute with a bar per symbol; its end."""
        self.now += MINUTE_NS
        bars: list[Bar] = [bar(symbol, self.now, close) for symbol, close in closes.items()]
        bus = self.world.bus()
        bus.publish(Published(tape_entry(self.now, *bars), [], {}))
        bus.close()
        return self.now

    def start(self) -> None:
        """Up and ready, whatever was before."""
        self.machine.systemctl("reset-failed", UNIT, ALERT, check=False)
        self.machine.systemctl("start", UNIT)

    def wait(self, name: str, value: str, timeout_s: float = 60.0) -> None:
        """Until a property of its unit has a value."""
        self.machine.until(lambda: self.machine.show(UNIT, name) == value, f"{name}={value}", timeout_s)

    def wait_states(self, *last: str) -> None:
        """Until its ledger ends with these steps of orders."""
        self.machine.until(
            lambda: tuple(self.world.states("scripted")[-len(last) :]) == last,
            f"{last}, but is {self.world.states('scripted')}",
        )

    def alerts(self, unit: str = UNIT) -> list[str]:
        """What was said in the journal at the level that wakes people."""
        name = unit.removesuffix(".service")
        return [
            text for text in self.machine.messages("-p", "alert", "ROONEY_EVENT=alert") if f" {name} failed" in text
        ]


@pytest.fixture(scope="module")
def desk(webhooks: World) -> Iterator[Desk]:
    machine = webhooks.machine
    machine.systemctl("stop", "rooney.target", check=False)
    source = TESTS / "strategies/scripted.py"
    machine.write("/etc/rooney/strategies/scripted.py", source.read_text())
    webhooks.add_strategy("scripted", reentry_wait_s=0)
    webhooks.give_account("scripted")
    # the hub stays down: it would be started with a worker, and its market is over
    machine.systemctl("mask", "--runtime", HUB)
    desk = Desk(webhooks)
    desk.minute(ES=100.0, NQ=100.0)
    yield desk
    machine.systemctl("unmask", "--runtime", HUB)


def test_stopping_the_target_stops_everything_and_names_the_positions(desk: Desk) -> None:
    desk.start()
    desk.machine.systemctl("start", "rooney.target", "rooney-dashboard.socket", check=False)
    desk.minute(ES=BUY)
    desk.wait_states("acknowledged")
    for _ in range(2):  # heard of at one mark, filled at the next
        desk.world.wait_position("scripted", desk.minute(ES=100.0))
    desk.machine.systemctl("stop", "rooney.target")
    # systemctl waits for the target alone; its units are given their time
    running = ("list-units", "--plain", "--no-legend", "--state=active,deactivating", "rooney*.service")
    desk.machine.until(lambda: desk.machine.systemctl(*running) == "", "everything is stopped", 40)
    assert desk.machine.show(UNIT, "Result") == "success"
    assert "stopping with a position: ESM6 +1" in desk.machine.messages("-u", UNIT)


def test_a_kill_between_sending_and_outcome_is_an_unconfirmed_order_at_the_next_start(desk: Desk) -> None:
    desk.start()
    desk.minute(NQ=BUY)  # the second order: its webhook reads it and never answers
    desk.wait_states("planned", "sending")
    desk.machine.until(lambda: len(desk.world.requests("scripted")) == 2, "the order was received")
    before = desk.machine.pid_of(UNIT)
    desk.machine.systemctl("kill", "-s", "KILL", UNIT)
    desk.machine.until(lambda: desk.machine.pid_of(UNIT) not in (0, before), "it is restarted")
    desk.wait("ActiveState", "active")
    assert desk.world.states("scripted")[-1] == "unconfirmed"
    (entry,) = desk.machine.journal("-u", UNIT, "-p", "crit")
    assert "unconfirmed the process ended between sending and outcome" in entry["MESSAGE"]
    assert "orders 1 UNCONFIRMED" in desk.machine.show(UNIT, "StatusText")


def test_it_is_never_sent_again_but_settled_by_an_exit(desk: Desk) -> None:
    for _ in range(4):
        desk.world.wait_position("scripted", desk.minute(NQ=100.0))
    desk.machine.until(lambda: desk.world.states("scripted")[-1] == "resolved", "the exit settled it")
    actions = [request["payload"]["action"] for request in desk.world.requests("scripted")]
    assert len(actions) == 3 and actions[2] == "exit"


def test_a_send_in_flight_reaches_its_outcome_before_the_unit_stops(desk: Desk) -> None:
    desk.minute(ES=LEAVE)  # the fourth order: its webhook takes three seconds
    desk.wait_states("planned", "sending")
    desk.machine.systemctl("stop", UNIT)
    assert desk.world.states("scripted")[-1] == "acknowledged"
    assert desk.machine.show(UNIT, "Result") == "success"
    assert desk.world.held("scripted") == {}


def test_what_root_orders_reaches_the_worker_which_is_another_user(desk: Desk) -> None:
    desk.start()
    desk.machine.run("rooney", "halt", "scripted", "--reason", "a test", "--yes")
    desk.minute(ES=BUY)
    desk.wait_states("planned", "dropped")
    desk.machine.run("rooney", "resume", "scripted", "--reason", "a test", "--yes")
    left = desk.machine.path("/var/lib/rooney/control/scripted/commands")
    desk.machine.until(lambda: not list(left.glob("*.json")), "the worker has taken the command")
    assert desk.world.query("scripted", "SELECT verb, who FROM operator")[-1] == ["resume", "root"]
    for price in (100.0, 100.0, BUY):
        desk.world.wait_position("scripted", desk.minute(ES=price))
    desk.wait_states("planned", "sending", "acknowledged")
    for price in (100.0, 100.0, LEAVE):
        desk.world.wait_position("scripted", desk.minute(ES=price))
    desk.wait_states("planned", "sending", "acknowledged")
    desk.machine.systemctl("stop", UNIT)


def test_word_of_the_ledger_is_read_by_the_worker_whoever_left_it_with_whatever_umask(desk: Desk) -> None:
    marker = "/var/lib/rooney/control/scripted/ledger"
    assert desk.machine.run("stat", "-c", "%U %G", marker).stdout == "rooney rooney\n"
    kept = desk.machine.path(marker).read_text()
    desk.machine.path(marker).unlink()
    desk.machine.run("sh", "-c", "umask 077; rooney position scripted ES 0 --price 100 --reason test --yes")
    assert desk.machine.run("stat", "-c", "%a %U %G", marker).stdout == "660 root rooney\n"
    assert desk.machine.path(marker).read_text() == kept
    desk.start()
    for price in (100.0, BUY):
        desk.world.wait_position("scripted", desk.minute(ES=price))
    desk.wait_states("planned", "sending", "acknowledged")
    for price in (100.0, 100.0, LEAVE):
        desk.world.wait_position("scripted", desk.minute(ES=price))
    desk.wait_states("planned", "sending", "acknowledged")
    desk.machine.systemctl("stop", UNIT)


def test_a_state_directory_that_was_deleted_enters_nothing_until_an_operator_says_so(desk: Desk) -> None:
    desk.machine.run("rm", "-r", "/var/lib/rooney/scripted")
    desk.start()
    desk.minute(ES=BUY)
    desk.wait_states("planned", "dropped")
    assert any("is not known to be the ledger of scripted" in text for text in desk.machine.messages("-u", UNIT))
    desk.machine.run("rooney", "resume", "scripted", "--new-ledger", "--reason", "a test", "--yes")
    left = desk.machine.path("/var/lib/rooney/control/scripted/commands")
    desk.machine.until(lambda: not list(left.glob("*.json")), "the worker has taken the command")
    for price in (100.0, 100.0, BUY, 100.0, 100.0, LEAVE):
        desk.world.wait_position("scripted", desk.minute(ES=price))
    desk.wait_states("sending", "acknowledged", "planned", "sending", "acknowledged")
    desk.machine.systemctl("stop", UNIT)


def test_a_wrong_configuration_stays_down_and_is_told_once(desk: Desk) -> None:
    desk.world.add_strategy("scripted", enabled=False)
    desk.machine.systemctl("start", UNIT, check=False)
    assert desk.machine.show(UNIT, "ExecMainStatus") == "78"
    assert desk.machine.show(UNIT, "NRestarts") == "0"
    desk.machine.until(lambda: len(desk.alerts()) == 1, "one alert")
    assert "exit-code (exited 78): wrong configuration, it stays down" in desk.alerts()[0]
    assert "strategies.scripted.enabled" in desk.alerts()[0]
    desk.world.add_strategy("scripted", reentry_wait_s=0)


def test_a_missing_credential_is_tried_again_up_to_the_start_limit(desk: Desk) -> None:
    before = len(desk.alerts())
    desk.machine.systemctl("reset-failed", UNIT, check=False)
    desk.machine.run("rooney", "credentials", "remove", "scripted.broker_account")
    desk.machine.systemctl("start", UNIT, check=False)
    desk.wait("ActiveState", "failed")
    assert desk.machine.show(UNIT, "ExecMainStatus") == "243"
    assert int(desk.machine.show(UNIT, "NRestarts")) > 0
    desk.machine.until(lambda: len(desk.alerts()) == before + 1, "one alert")
    desk.world.give_account("scripted")


def test_five_crashes_are_one_alert(desk: Desk) -> None:
    before = len(desk.alerts())
    desk.machine.drop_in(UNIT, QUICK)
    desk.start()
    for _ in range(5):
        desk.wait("ActiveState", "active")
        pid = desk.machine.pid_of(UNIT)
        desk.machine.systemctl("kill", "-s", "KILL", UNIT)
        desk.machine.until(lambda pid=pid: desk.machine.pid_of(UNIT) != pid, "it is gone")
        desk.machine.until(
            lambda: desk.machine.show(UNIT, "ActiveState") in ("active", "failed"), "it is back, or given up"
        )
    desk.wait("ActiveState", "failed")
    desk.machine.until(lambda: len(desk.alerts()) == before + 1, "one alert")
    time.sleep(1)
    assert len(desk.alerts()) == before + 1
    assert "signal (killed KILL)" in desk.alerts()[-1]


def test_a_loop_of_hangs_is_seen_each_time_and_given_up_the_fifth(desk: Desk) -> None:
    before = len(desk.alerts())
    desk.machine.drop_in(UNIT, QUICK + "WatchdogSec=2\n")
    desk.start()
    for _ in range(5):
        desk.wait("ActiveState", "active")
        pid = desk.machine.pid_of(UNIT)
        desk.machine.systemctl("kill", "-s", "STOP", UNIT)
        desk.machine.until(lambda pid=pid: desk.machine.pid_of(UNIT) != pid, "the watchdog ended it")
        desk.machine.until(
            lambda: desk.machine.show(UNIT, "ActiveState") in ("active", "failed"), "it is back, or given up"
        )
    desk.wait("ActiveState", "failed")
    assert sum("Watchdog timeout" in text for text in desk.machine.messages("-u", UNIT)) == 5
    desk.machine.until(lambda: len(desk.alerts()) == before + 1, "one alert")
    assert "watchdog" in desk.alerts()[-1]


def test_the_stack_of_a_hung_process_is_in_the_journal(desk: Desk) -> None:
    text = "\n".join(desk.machine.messages("-u", UNIT))
    assert "Fatal Python error: Aborted" in text
    assert re.search(r'File ".+/rooney/worker/process\.py", line \d+ in _follow', text)
    desk.machine.drop_out(UNIT)


def test_an_alert_reaches_slack_and_its_address_stays_secret(desk: Desk) -> None:
    machine, address = desk.machine, "http://127.0.0.1:8282/services/T0/B0/hooksecret"
    server = (
        "import http.server as h\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        " def do_POST(self):\n"
        "  open('/run/sim/slack','ab').write(self.rfile.read(int(self.headers['Content-Length']))+b'\\n')\n"
        "  self.send_response(200); self.end_headers()\n"
        "h.HTTPServer(('127.0.0.1',8282),H).serve_forever()\n"
    )
    machine.run("systemd-run", "--quiet", "--unit=sim-slack", sys.executable, "-c", server)
    machine.until(lambda: machine.run("curl", "-s", "127.0.0.1:8282", check=False).returncode == 0, "slack listens")
    machine.run("rooney", "credentials", "set", "alert/slack", text=address)
    machine.systemctl("start", ALERT)
    sent = machine.path("/run/sim/slack").read_text()
    assert "rooney-worker@scripted failed" in json.loads(sent)["text"]
    assert not [text for text in machine.messages("-t", "rooney-alert") if "hooksecret" in text]


def test_a_status_that_is_not_ascii_arrives_and_takes_nothing_with_it(desk: Desk) -> None:
    code = "from rooney.systemd import Notifier; import time; n = Notifier(); "
    code += "n.status('day \u2212312.50 \u2713'); n.ready()"
    properties = ("--service-type=notify", "-p", "NotifyAccess=main", "-p", "WatchdogSec=9")
    command = ("/opt/rooney/current/bin/python", "-c", f"{code}; n.watchdog(); time.sleep(60)")
    desk.machine.run("systemd-run", "--quiet", "--unit=said", *properties, *command)
    assert desk.machine.show("said", "StatusText") == "day ?312.50 ?"
    assert desk.machine.show("said", "ActiveState") == "active"
    desk.machine.systemctl("stop", "said")


def test_the_watch_tells_a_trouble_once(desk: Desk) -> None:
    machine = desk.machine
    machine.systemctl("stop", "rooney-watch.timer", "rooney-watch.service")
    machine.path("/run/rooney-watch/said.json").unlink(missing_ok=True)
    before = len(desk.alerts("rooney-watch.service"))
    machine.systemctl("start", "rooney-watch", check=False)
    assert machine.show("rooney-watch", "ExecMainStatus") == "1"
    assert any("no hub" in text or "the hub has said" in text for text in machine.messages("-t", "rooney-watch"))
    machine.until(lambda: len(desk.alerts("rooney-watch.service")) == before + 1, "one alert")
    machine.systemctl("start", "rooney-watch")
    assert len(desk.alerts("rooney-watch.service")) == before + 1


def test_the_dashboard_answers_and_can_reach_nothing(desk: Desk) -> None:
    machine = desk.machine
    machine.systemctl("start", "rooney-dashboard.socket")
    url = "http://127.0.0.1:5000/healthz"
    found = json.loads(machine.run("curl", "-sS", url).stdout)
    assert found["ok"] is False and any("hub" in line for line in found["attention"])
    assert (
        machine.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: evil.example", url).stdout
        == "403"
    )
    page = machine.run("curl", "-sS", "http://127.0.0.1:5000/").stdout
    assert "ibs" in page and "cannot be read" not in page
    metrics = machine.run("curl", "-sS", "http://127.0.0.1:5000/metrics").stdout
    assert 'rooney_up{component="redis",strategy=""} 1' in metrics and metrics.endswith("# EOF\n")
    if machine.path("/sys/fs/cgroup/cgroup.controllers").exists():  # one hierarchy, as systemd has it today
        assert 'rooney_unit_cpu_seconds_total{component="dashboard",strategy=""}' in metrics
    pid = str(machine.pid_of("rooney-dashboard.service"))
    out = machine.run("nsenter", "-t", pid, "-n", "--", "curl", "-sS", "-m", "3", "http://127.0.0.1:8181", check=False)
    assert out.returncode == 7
    machine.systemctl("stop", "rooney-dashboard.socket", "rooney-dashboard.service")


def test_the_alert_sender_tells_slack_what_is_wrong_and_again_what_is_well(desk: Desk) -> None:
    machine, told = desk.machine, desk.machine.path("/run/sim/slack")
    machine.systemctl("start", "rooney-alert-sender")  # active once it has read its credentials and its book
    machine.run("rooney", "halt", "scripted", "--reason", "a test", "--yes")
    machine.until(lambda: "a test" in told.read_text(), "the halt is told", 120)
    machine.run("rooney", "resume", "scripted", "--reason", "a test", "--yes")
    machine.until(lambda: "RESOLVED" in told.read_text(), "its end is told", 120)
    machine.systemctl("stop", "rooney-alert-sender")
    assert machine.show("rooney-alert-sender", "Result") == "success"
    assert not [text for text in machine.messages("-u", "rooney-alert-sender") if "hooksecret" in text]


def test_the_weeks_report_is_written_by_its_unit(desk: Desk) -> None:
    desk.machine.systemctl("start", "rooney-report-week")
    assert desk.machine.show("rooney-report-week", "Result") == "success"
    assert [
        page for page in desk.machine.path("/var/lib/rooney-report").glob("*.html") if "scripted" in page.read_text()
    ]


def test_an_encrypted_credential_is_loaded_and_rotated(desk: Desk) -> None:
    machine = desk.machine
    machine.run("rooney", "credentials", "encrypt", "scripted.broker_account")
    stored = machine.path("/etc/rooney/credentials/scripted.broker_account.cred").read_text()
    assert "webhook" not in stored and not machine.path("/etc/rooney/credentials/scripted.broker_account").exists()
    machine.run("rooney", "credentials", "rotate", "scripted.broker_account", text=desk.world.url("scripted"))
    machine.systemctl("daemon-reload")
    desk.start()
    listed = machine.run("rooney", "credentials", "list").stdout
    assert re.search(r"scripted\.broker_account +encrypted", listed)
    assert not [part for pair in desk.world.accounts.values() for part in pair if part in listed]
    machine.systemctl("stop", UNIT)


def test_a_journal_of_redis_that_is_damaged_ends_in_one_alert_after_a_bounded_number_of_starts(desk: Desk) -> None:
    machine, unit = desk.machine, "redis-server.service"
    before = len(desk.alerts(unit))
    machine.systemctl("stop", unit)
    folder = "/var/lib/redis/appendonlydir"
    kept = {path: path.read_bytes() for path in machine.path(folder).iterdir() if path.suffix != ".manifest"}
    for path, content in kept.items():  # in place: Redis stays its owner
        path.write_bytes(b"\xff" * 64 + content[64:])
    try:
        machine.systemctl("start", unit, check=False)
        machine.until(lambda: machine.show(unit, "ActiveState") == "failed", "systemd gives up", 180)
        assert 0 < int(machine.show(unit, "NRestarts")) <= 20
        machine.until(lambda: len(desk.alerts(unit)) > before, "one alert")
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
        machine.systemctl("reset-failed", unit)
        machine.systemctl("start", unit)
    assert len(desk.alerts(unit)) == before + 1
    assert desk.world.tape_end() == desk.now


def test_no_two_strategies_are_given_one_account(desk: Desk) -> None:
    argv = ("rooney", "credentials", "set", "ibs.broker_account")
    done = desk.machine.run(*argv, text=desk.world.url("scripted"), check=False)
    assert done.returncode == 78
    assert "use the same webhook" in done.stderr
    assert desk.world.accounts["scripted"][1] not in done.stderr + done.stdout
