"""The store of credentials: what gets in, what never comes out, and what units are told."""

import os
from pathlib import Path

import pytest

from rooney.config.credentials import DROP_IN, Item, Store, drop_in
from rooney.errors import ConfigError
from rooney.secrets import Secret


def webhook(n: int) -> Secret:
    return Secret(f"https://webhooks.traderspost.io/trading/webhook/{n}1111111-1111-1111-1111-111111111111/pass{n}word")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "credentials", tmp_path / "system")


def test_a_credential_is_for_root_alone(store: Store) -> None:
    store.put("ibs.broker_account", webhook(1), encrypt=False)
    path = store.directory / "ibs.broker_account"
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert path.read_text().strip() == webhook(1).reveal()
    assert [file.name for file in store.directory.iterdir()] == ["ibs.broker_account"]


@pytest.mark.parametrize(
    "name", ["ibs", "ibs.password", "../ibs.broker_account", "IBS.broker_account", "alert/mail", ""]
)
def test_a_name_no_unit_would_load_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ConfigError, match="expected databento_api_key"):
        store.put(name, webhook(1), encrypt=False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ibs.broker_account", "not a url"),
        ("ibs.broker_account", ""),
        ("ibs.broker_account", "http://webhooks.traderspost.io/trading/webhook/s3cret"),
        ("alert/slack", "ftp://s3cret"),
        ("databento_api_key", "two\nlines s3cret"),
    ],
)
def test_an_unsound_secret_changes_nothing_and_is_not_quoted(store: Store, name: str, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        store.put(name, Secret(text), encrypt=False)
    assert "s3cret" not in str(refused.value)
    assert not store.directory.exists()


def test_no_account_is_given_to_two_strategies(store: Store) -> None:
    store.put("ibs.broker_account", webhook(1), encrypt=False)
    with pytest.raises(ConfigError, match="same webhook") as refused:
        store.put("breakout.paper_account", webhook(1), encrypt=False)
    assert "pass1word" not in str(refused.value)
    store.put("ibs.broker_account", webhook(1), encrypt=False)


def test_a_new_value_replaces_the_old_one_whole(store: Store) -> None:
    store.put("ibs.broker_account", webhook(1), encrypt=False)
    store.put("ibs.broker_account", webhook(2), encrypt=False)
    assert "pass1word" not in (store.directory / "ibs.broker_account").read_text()
    assert len(store.items()) == 1


def test_a_plain_broker_account_needs_no_drop_in(store: Store) -> None:
    store.put("ibs.broker_account", webhook(1), encrypt=False)
    assert not store.units.exists()


def test_a_paper_account_is_loaded_by_a_drop_in_that_goes_with_it(store: Store) -> None:
    store.put("ibs.broker_account", webhook(1), encrypt=False)
    store.put("ibs.paper_account", webhook(2), encrypt=False)
    path = store.units / "rooney-worker@ibs.service.d" / DROP_IN
    assert f"\nLoadCredential=paper_account:{store.directory}/ibs.paper_account\n" in path.read_text()
    store.remove("ibs.paper_account")
    assert not path.parent.exists()


def test_an_encrypted_credential_replaces_the_units_own_line() -> None:
    text = drop_in(Path("/c"), [Item("ibs.broker_account", True, 0.0)])
    assert text.endswith("[Service]\nLoadCredentialEncrypted=broker_account:/c/ibs.broker_account.cred\n")


def test_a_strategy_with_a_paper_account_alone_is_not_stopped_by_the_missing_one() -> None:
    text = drop_in(Path("/c"), [Item("ibs.paper_account", False, 0.0)])
    assert text.endswith("[Service]\nLoadCredential=\nLoadCredential=paper_account:/c/ibs.paper_account\n")


def test_a_listing_names_and_never_shows(store: Store) -> None:
    store.put("ibs.broker_account", webhook(1), encrypt=False)
    store.put("databento_api_key", Secret("db-" + "a" * 29), encrypt=False)
    assert [item.name for item in store.items()] == ["databento_api_key", "ibs.broker_account"]
    assert "pass1word" not in repr(store.items())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_closed_store_asks_for_root(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir(mode=0)
    with pytest.raises(ConfigError, match="as root"):
        Store(tmp_path / "credentials").items()
