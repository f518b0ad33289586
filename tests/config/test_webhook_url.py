"""One judgement of a webhook's URL, whoever asks."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooney.config.account_sharing import Account, open_account
from rooney.config.check import check_findings
from rooney.config.credentials import Store
from rooney.config.loader import load_config
from rooney.errors import ConfigError
from rooney.execution.account_lock import AccountLock
from rooney.execution.traderspost import TradersPost
from rooney.secrets import Secret

SECRET = "0000-s3cret"
ACCOUNT = f"webhooks.example/trading/webhook/{SECRET}/{SECRET}"
CONFIGURATION = """
databento: {api_key: "${KEY}"}
instruments: {ES: {}}
strategies: {ibs: {enabled: true, mode: live, instruments: [ES], broker_account: "${WEBHOOK}"}}
alerts: {slack: "${WEBHOOK}", ping: "${WEBHOOK}"}
"""


def answers(*asked: Callable[[], object]) -> set[bool]:
    """Whether the URL is sound, as each caller says it; none of them quotes it."""
    found: set[str] = set()
    for ask in asked:
        try:
            ask()
            found.add("")
        except ConfigError as error:
            found.add(str(error))
    assert SECRET not in str(found)
    return {not error for error in found}


@pytest.mark.parametrize(
    ("url", "is_account", "is_webhook"),
    [
        (f"https://{ACCOUNT}", True, True),
        (f"https://webhooks.example:8443/trading/webhook/{SECRET}/{SECRET}", True, True),
        (f"http://127.0.0.1:8181/trading/webhook/{SECRET}/{SECRET}", True, True),
        (f"http://127.0.0.2:8181/trading/webhook/{SECRET}/{SECRET}", True, True),
        (f"http://localhost/trading/webhook/{SECRET}/{SECRET}", True, True),
        (f"http://[::1]:8181/trading/webhook/{SECRET}/{SECRET}", True, True),
        (f"https://{ACCOUNT}/", False, True),
        (f"https://{ACCOUNT}/more", False, True),
        (f"https://{ACCOUNT}?a=b", False, True),
        (f"https://{ACCOUNT}#a", False, True),
        (f"https://me:pw@{ACCOUNT}", False, True),
        (f"https://hooks.example/services/{SECRET}", False, True),
        (f"https://{'x' * 70}.{ACCOUNT}", False, False),
        (f"http://{ACCOUNT}", False, False),
        (f"http://127.0.0.1.evil.example/trading/webhook/{SECRET}/{SECRET}", False, False),
        (f"ftp://{ACCOUNT}", False, False),
        (ACCOUNT, False, False),
        (f"https:///trading/webhook/{SECRET}/{SECRET}", False, False),
        (f"https://*{ACCOUNT}", False, False),
        (f"https://[::1/trading/webhook/{SECRET}/{SECRET}", False, False),
        (f"https://webhooks.example:port/trading/webhook/{SECRET}/{SECRET}", False, False),
        (f"https://webhooks.example:99999/trading/webhook/{SECRET}/{SECRET}", False, False),
        (f"https://2130706433/trading/webhook/{SECRET}/{SECRET}", False, False),
        (f"https://127.1/trading/webhook/{SECRET}/{SECRET}", False, False),
        (f"https://a.0x7f/trading/webhook/{SECRET}/{SECRET}", False, False),
        (f"https://{ACCOUNT} x", False, False),
        (f"https://{ACCOUNT}\u00e4", False, False),
    ],
)
def test_whoever_judges_a_webhook_gives_the_same_answer(
    url: str, is_account: bool, is_webhook: bool, tmp_path: Path
) -> None:
    path = tmp_path / "config.yml"
    path.write_text(CONFIGURATION)
    config = load_config(path, (), environ={"KEY": "db-k", "WEBHOOK": url})
    store = Store(tmp_path / "credentials", tmp_path / "units")

    def check() -> None:
        if errors := [one for one in check_findings(config, tmp_path / "none") if one.level == "error"]:
            raise ConfigError(str(errors))

    assert answers(
        lambda: open_account("p", Secret(url)),
        lambda: config.worker("ibs"),
        check,
        lambda: store.put("ibs.broker_account", Secret(url), encrypt=False),
        lambda: TradersPost(url),
    ) == {is_account}
    assert answers(
        lambda: config.alert_target("", "slack"),
        lambda: config.alert_target("", "ping"),
        lambda: store.put("alert/slack", Secret(url), encrypt=False),
        lambda: store.put("alert/ping", Secret(url), encrypt=False),
    ) == {is_webhook}


UUID, PASSWORD = "0a1b2c3d-4e5f-6789-abcd-ef0123456789", "f00dfeed"
HOSTS = {  # spellings of a host, by the host
    "webhooks.example": ("webhooks.example", "WebHooks.EXAMPLE"),
    "this machine": ("localhost", "LOCALHOST", "127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::]", "[0:0:0::1]"),
    "an address": ("192.0.2.1", "[::ffff:192.0.2.1]", "[::FFFF:c000:0201]"),
}
PORTS = {443: ("", ":", ":443", ":0443", ":00443"), 8181: (":8181", ":08181")}


@st.composite
def spelling(draw: st.DrawFn, host: str, port: int, uuid: str, password: str) -> str:
    """A URL of an account, by a hand that wants to get past a comparison."""
    text = ""
    for character in "".join(f"/{part}" for part in ("trading", "webhook", uuid, password)):
        ways = [character, character.upper()]
        ways += ["//", "/./", "/x/../"] if character == "/" else [f"%{ord(each):02{x}}" for each in ways for x in "xX"]
        ways += [] if character == "/" else [f"%25{ord(character):02x}"]
        text += draw(st.sampled_from(ways))
    scheme = draw(st.sampled_from(["https", "HTTPS"]))
    return f"{scheme}://{draw(st.sampled_from(HOSTS[host]))}{draw(st.sampled_from(PORTS[port]))}{text}"


def digest(url: str) -> str:
    return Account("p", Secret(url)).digest


@given(st.data(), st.sampled_from(list(HOSTS)), st.sampled_from(list(PORTS)))
@settings(max_examples=300, deadline=None)
def test_an_account_is_one_however_its_webhook_is_spelt(data: st.DataObject, host: str, port: int) -> None:
    plain = f"https://{HOSTS[host][0]}:{port}/trading/webhook/{UUID}/{PASSWORD}"
    assert digest(data.draw(spelling(host, port, UUID, PASSWORD))) == digest(plain)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_accounts_are_two_where_anything_but_the_spelling_differs(data: st.DataObject) -> None:
    accounts = st.tuples(
        *map(st.sampled_from, (list(HOSTS), list(PORTS), (UUID, UUID[::-1]), (PASSWORD, PASSWORD[::-1])))
    )
    first, second = data.draw(accounts), data.draw(accounts)
    assert (digest(data.draw(spelling(*first))) == digest(data.draw(spelling(*second)))) == (first == second)


def test_a_worker_is_refused_the_account_that_another_holds_by_another_spelling(tmp_path: Path) -> None:
    first, second = (
        Account("p", Secret(f"http://{host}/trading/webhook/{uuid}/{PASSWORD}"))
        for host, uuid in (("localhost:8181", UUID), ("127.0.0.1:08181", UUID.upper().replace("0A", "%30a")))
    )
    with AccountLock(first, "ibs", tmp_path), pytest.raises(ConfigError, match="that 'ibs'"):
        AccountLock(second, "twin", tmp_path)
