"""One judgement of a webhook's URL, whoever asks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rooney.config.account_sharing import open_account
from rooney.config.check import check_findings
from rooney.config.credentials import Store
from rooney.config.loader import load_config
from rooney.errors import ConfigError
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
