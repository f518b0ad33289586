"""Findings of `rooney check` about a configuration that loads: what would stop a start, and what to look at."""

import os
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rooney.config.account_sharing import Account, shared, sharing_error
from rooney.config.loader import Config
from rooney.config.schema import StrategyBlock
from rooney.config.settings import HubConfig, WorkerConfig
from rooney.errors import ConfigError
from rooney.market import sessions
from rooney.market.instruments import PRODUCTS, group_of
from rooney.paths import CREDENTIAL_STORE
from rooney.secrets import Secret

TABLE_WARNING_DAYS = 90
DISPUTE_WARNING_DAYS = 30
_FIRST_MARGIN = 4_000.0  # what the very first configuration gave every product


class Finding(NamedTuple):
    """error: something will not start; warning: it will, and should be looked at; note: good to know."""

    level: Literal["error", "warning", "note"]
    path: str
    text: str


def check_findings(config: Config, store: Path = CREDENTIAL_STORE) -> list[Finding]:
    """Everything there is to say, resolving what hub, dashboard and every enabled worker would resolve.

    store: directory with `databento_api_key` and a `NAME.broker_account` per strategy; used if it exists
    """
    findings = file_findings(config)
    credentials = store if store.is_dir() else None
    closed = credentials is not None and not os.access(credentials, os.R_OK | os.X_OK)
    accounts: dict[str, Account] = {}
    _attempt(findings, config.dashboard)
    if closed:
        findings.append(Finding("warning", "credentials", f"{store} is closed to this user; as root, check says more"))
        _attempt(findings, config.data_hub)
    else:
        hub: HubConfig | None = _attempt(findings, config.hub, credentials)
        if hub and not hub.databento.gateway and not hub.databento.api_key.reveal().startswith("db-"):
            findings.append(Finding("warning", "databento.api_key", "begins otherwise than Databento's keys (db-)"))
    for name in config.names:
        strategy = _attempt(findings, config.strategy, name)
        if strategy and strategy.settings.enabled and not closed:
            worker: WorkerConfig | None = _attempt(findings, config.worker, name, credentials)
            if worker:
                findings += worker_findings(worker)
                if worker.account:
                    accounts[name] = worker.account
    findings += [_refusal(sharing_error(names)) for names in shared(accounts)]
    # One mistake may stop several processes.
    return list(dict.fromkeys(findings))


def file_findings(config: Config) -> list[Finding]:
    """Findings in the file alone, before any variable or credential is read; a process logs it when it starts."""
    findings = _of_secret("databento.api_key", config.file.databento.api_key)
    for key in ("slack", "discord", "apprise", "ping"):
        findings += _of_secret(f"alerts.{key}", getattr(config.file.alerts, key))
    hub = config.file.data_hub
    old = [key for key in ("heartbeat_file", "heartbeat_interval") if getattr(hub, key) is not None]
    if old:
        text = f"{' and '.join(old)} no longer do anything: systemd's watchdog (WatchdogSec=) sees a process that hangs"
        findings.append(Finding("warning", f"data_hub.{old[0]}", text))
    placeholders = [
        root
        for root, block in config.file.instruments.items()
        if block.margin in (None, _FIRST_MARGIN) or (root in PRODUCTS and block.margin == PRODUCTS[root].margin_usd)
    ]
    if placeholders:
        text = f"margin of {', '.join(placeholders)} is a placeholder; put in what your broker asks per contract"
        findings.append(Finding("warning", "instruments", text))
    for name, block in config.file.strategies.items():
        findings += _of_strategy(f"strategies.{name}", block)
    return findings


def table_findings(today: date, roots: Iterable[str]) -> list[Finding]:
    """Findings about a session table that ends soon or disputes a close of these, in time to do something about it."""
    known, groups = sessions.table(), {group_of(root) for root in roots}
    findings = []
    for (day, group), earlier in sorted(known.disputed.items()):
        if group in groups and 0 <= (day - today).days <= DISPUTE_WARNING_DAYS:
            later = sessions.hours_on(group, day)[-1][1]
            text = (
                f"{day}: whether {group} closes {earlier:%H:%M} or {later:%H:%M}, Chicago, is disputed; entries and "
                "the auto-close go by the earlier, bars and exits by the later; see the exchange's hours of that day"
            )
            findings.append(Finding("warning", "session table", text))
    left_days = (known.last - today).days
    renew = "install a newer rooney, or write the table anew (python -m research.data.session_table)"
    if left_days < 0:
        text = f"ended on {known.last}: holidays are unknown, so no strategy enters a position; exits go on; {renew}"
        findings.append(Finding("error", "session table", text))
    elif left_days < TABLE_WARNING_DAYS:
        text = f"ends on {known.last}, in {left_days} days; after it no strategy enters a position; {renew}"
        findings.append(Finding("warning", "session table", text))
    return findings


def worker_findings(worker: WorkerConfig) -> list[Finding]:
    """Findings about the part of a worker that may start."""
    path, settings = worker.strategy.path, worker.strategy.settings
    findings = []
    if settings.mode == "paper" and worker.account and worker.account.path == f"{path}.broker_account":
        text = "mode paper without a paper_account sends to broker_account: that must be the webhook of a demo account"
        findings.append(Finding("warning", f"{path}.paper_account", text))
    if settings.mode == "live" and settings.profile == "v1":
        text = "v1 repeats the old system's known defects, with money"
        findings.append(Finding("warning", f"{path}.profile", text))
    return findings


def _of_strategy(path: str, block: StrategyBlock) -> list[Finding]:
    if not block.enabled:
        return [Finding("note", f"{path}.enabled", "is switched off: its worker refuses to start")]
    findings = _of_secret(f"{path}.broker_account", block.broker_account)
    findings += _of_secret(f"{path}.paper_account", block.paper_account)
    for key in ("slack", "discord", "apprise"):
        findings += _of_secret(f"{path}.{key}", getattr(block, key))
    if block.paper_account is not None and block.paper_account == block.broker_account:
        text = "is the same as broker_account: paper orders would reach the live account"
        findings.append(Finding("error", f"{path}.paper_account", text))
    return findings


def _of_secret(path: str, secret: Secret | None) -> list[Finding]:
    if secret is None or not secret.literal:
        return []
    text = "a secret in a file: write ${NAME}, put the secret into a credential, and replace it at its issuer"
    return [Finding("warning", path, text)]


def _attempt(findings: list[Finding], resolve: Callable[..., Any], *args: object) -> Any:
    """The part `resolve` gives; where it refuses, None and one finding more."""
    try:
        return resolve(*args)
    except ConfigError as error:
        findings.append(_refusal(error))
        return None


def _refusal(error: ConfigError) -> Finding:
    path, _, text = str(error).partition(": ")
    return Finding("error", path, text)
