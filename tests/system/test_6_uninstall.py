"""Removing it: nothing of ours runs or is left, and everything that cannot be made again is."""

from tests.support.installed_system import CONFIG, World
from tests.system.conftest import Guide


def test_removing_keeps_configuration_credentials_and_ledgers(webhooks: World, guide: Guide) -> None:
    machine = webhooks.machine
    machine.systemctl("start", "rooney-worker@ibs")
    guide.follow("Remove")
    assert machine.systemctl("list-units", "--plain", "--no-legend", "--state=active", "rooney*") == ""
    gone = machine.run(
        "sh", "-c", "ls -d /opt/rooney /usr/local/bin/rooney /usr/local/lib/systemd/system/rooney*", check=False
    )
    assert gone.stdout == ""
    assert not list(machine.path("/etc/systemd/system").glob("*.wants/rooney*"))
    kept = (CONFIG, "/etc/rooney/credentials/ibs.broker_account", "/var/lib/rooney/ibs/ledger.sqlite")
    machine.run("ls", *kept)
    machine.run("id", "rooney")
    assert machine.systemctl("is-active", "redis-server") == "active"
