"""The command that `OnFailure=` starts: say that a unit failed, in the journal and wherever a credential leads.

It shares no cause of failure with what it reports: no Redis, no hub, no configuration. A message that cannot be
delivered is said in the journal, which has it in full anyway.
"""

import http.client
import json
import logging
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rooney import log
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError
from rooney.secrets import Secret, credentials_directory, read_credential

logger = logging.getLogger(__name__)

POST_TIMEOUT_S = 8.0
JOURNAL_LINES = 8
MAX_CHARS = 1_800  # Discord takes 2,000


def compose(unit: str, environ: Mapping[str, str], tail: Sequence[str], host: str) -> str:
    """Pure: the text; its first line is complete on a phone.

    environ: MONITOR_* as systemd gives them to what OnFailure= starts
    tail:    the last journal lines of the run that failed
    """
    result = environ.get("MONITOR_SERVICE_RESULT", "unknown result")
    code, status = environ.get("MONITOR_EXIT_CODE", ""), environ.get("MONITOR_EXIT_STATUS", "")
    how = f" ({code} {status})" if code else ""
    what = {"78": ": wrong configuration, it stays down", "243": ": a credential is missing"}.get(status, "")
    first = f"{host}: {unit} failed: {result}{how}{what}. Look: journalctl -u {unit} -n 50"
    text = log.redact("\n".join([first, *tail]))
    half = (MAX_CHARS - 5) // 2
    return text if len(text) <= MAX_CHARS else f"{text[:half]}\n...\n{text[-half:]}"


def journal_tail(invocation: str) -> list[str]:
    """The last lines of one run; empty where the journal cannot be read."""
    if not invocation.isalnum():
        return []
    argv = ["journalctl", f"_SYSTEMD_INVOCATION_ID={invocation}", "-n", str(JOURNAL_LINES), "-o", "cat", "--no-pager"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"(the journal could not be read: {type(error).__name__})"]
    return [line for line in done.stdout.splitlines() if line.strip()]


def body(service: str, text: str) -> dict[str, Any]:
    """Pure: the request of one service. Nothing in the text can ping or link anybody."""
    if service == "slack":
        return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), "unfurl_links": False}
    return {"content": text, "allowed_mentions": {"parse": []}}


def post(url: Secret, message: Mapping[str, Any]) -> str:
    """Send it once; why it was not taken, or nothing. The URL is the secret: no error here quotes it."""
    try:
        request = urllib.request.Request(
            url.reveal(), json.dumps(message).encode(), {"Content-Type": "application/json", "User-Agent": "rooney"}
        )
        with urllib.request.urlopen(request, timeout=POST_TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        return f"answered {error.code}"
    except urllib.error.URLError as error:
        return type(error.reason).__name__ if isinstance(error.reason, Exception) else "not reached"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return type(error).__name__


def targets(directory: Path | None) -> dict[str, Secret]:
    """Service → webhook, from the credentials alert_slack and alert_discord; either may be missing."""
    found = {service: read_credential("alert", directory, f"alert_{service}") for service in ("slack", "discord")}
    return {service: url for service, url in found.items() if url is not None}


def run(unit: str, environ: Mapping[str, str], host: str) -> int:
    """Exit status: 0 said everywhere it should be, 1 in the journal only."""
    text = compose(unit, environ, journal_tail(environ.get("MONITOR_INVOCATION_ID", "")), host)
    log.event(logger, log.ALERT, "alert", text)
    try:
        services = targets(credentials_directory(environ))
    except ConfigError as error:
        log.event(logger, logging.ERROR, "alert", str(error))
        return EXIT_ATTENTION
    code = EXIT_OK
    for service, url in services.items():
        if why := post(url, body(service, text)):
            log.event(logger, logging.ERROR, "alert", f"{service} did not take the alert: {why}; it is in the journal")
            code = EXIT_ATTENTION
    return code
