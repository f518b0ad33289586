"""Slack and Discord: the request of each, what its answers mean, and how long to wait. One importer of requests here.

A URL is the secret: nothing here puts one, or an exception of requests, which quotes it, into a text.
Sources: Slack "Sending messages using incoming webhooks" and "Rate limits"; Discord "Rate Limits", "Execute Webhook".
"""

import importlib.util
import logging
import time
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import requests

from rooney.alerts.on_failure import body
from rooney.format import json_object, retry_after_s
from rooney.secrets import Secret

Service = Literal["slack", "discord", "apprise"]
SERVICES: tuple[Service, ...] = ("slack", "discord", "apprise")
CONNECT_S, READ_S, WHOLE_S = 3.0, 8.0, 12.0
MAX_ANSWER_BYTES = 4_096
MAX_PAUSE_S = 600.0
LEAST_PAUSE_S = {"slack": 1.0, "discord": 2.0, "apprise": 1.0}  # between two messages; Slack's limit, Discord's habit
BACK_OFF_S = (1.0, 2.0, 5.0, 15.0, 60.0)
# what Slack says of a webhook that will never work again, beside 404 and 410; of these, 403 and 400 carry some
_SLACK_GONE = (
    "no_service",
    "no_team",
    "team_disabled",
    "invalid_token",
    "no_active_hooks",
    "action_prohibited",
    "channel_not_found",
    "channel_is_archived",
    "posting_to_general_channel_denied",
    "user_not_found",
)
_DISCORD_GONE = (10015, 50027)  # unknown webhook, invalid webhook token


class Verdict(msgspec.Struct, frozen=True):
    """Result of a request: `taken`, `later`, `gone` (the webhook), or `refused` (this message, for good).

    pause_s: before the next request of this channel; why: for people, never a URL
    """

    result: Literal["taken", "later", "gone", "refused"]
    why: str = ""
    pause_s: float = 0.0


def judge(service: Service, status: int, headers: Mapping[str, str], text: str, tries: int) -> Verdict:
    """Pure: what an answer means. tries: requests of this message before this one."""
    said = f"answered {status} {' '.join(text.split())[:60]}".rstrip()
    if 200 <= status < 300:
        return Verdict("taken", pause_s=max(LEAST_PAUSE_S[service], _bucket_s(headers)))
    pause_s = min(MAX_PAUSE_S, _retry_after_s(headers, text) or back_off_s(tries))
    if status == 429:
        return Verdict("later", said, pause_s)
    if status in (401, 404, 410) or (status in (400, 403) and _is_gone(service, text)):
        return Verdict("gone", said)
    if status >= 500 or status in (403, 408, 425):
        return Verdict("later", said, pause_s)
    return Verdict("refused", said, LEAST_PAUSE_S[service])


def back_off_s(tries: int) -> float:
    """Pause before another attempt."""
    return BACK_OFF_S[min(tries, len(BACK_OFF_S) - 1)]


def _is_gone(service: Service, text: str) -> bool:
    if service == "slack":
        return any(word in text for word in _SLACK_GONE)
    return _number(json_object(text).get("code")) in _DISCORD_GONE


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _retry_after_s(headers: Mapping[str, str], text: str) -> float:
    """By the header, or as Discord says it in its body, more exactly."""
    asked_s = retry_after_s(headers.get("Retry-After", ""), headers.get("Date", ""))
    return max(asked_s, _number(json_object(text).get("retry_after")))


def _bucket_s(headers: Mapping[str, str]) -> float:
    """Seconds that Discord wants to be left alone after the last request of its bucket."""
    if headers.get("X-RateLimit-Remaining") != "0":
        return 0.0
    return min(MAX_PAUSE_S, max(0.0, _number(headers.get("X-RateLimit-Reset-After"))))


def post(service: Service, url: Secret, text: str, tries: int) -> Verdict:
    """Send a message once."""
    if service == "apprise":
        return _apprise(url, text, tries)
    end = time.monotonic() + WHOLE_S
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                url.reveal(),
                json=body(service, text),
                headers={"User-Agent": "rooney (alerts, 1)"},  # Discord refuses requests without one
                timeout=(CONNECT_S, READ_S),
                allow_redirects=False,
                stream=True,
            )
            said = b""
            for part in answer.iter_content(512):  # a server that drips is given up too
                said += part
                if len(said) >= MAX_ANSWER_BYTES or time.monotonic() > end:
                    break
            return judge(service, answer.status_code, answer.headers, said.decode("utf-8", "replace"), tries)
    except (requests.RequestException, OSError, ValueError) as error:
        return Verdict("later", f"not reached ({type(error).__name__})", back_off_s(tries))


def has_apprise() -> bool:
    """True if the extra is installed."""
    return importlib.util.find_spec("apprise") is not None


def _apprise(url: Secret, text: str, tries: int) -> Verdict:
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # its lines may hold parts of a URL
    one = apprise.Apprise()
    if not one.add(url.reveal()):
        return Verdict("gone", "apprise does not know this kind of URL")
    first, _, rest = text.partition("\n")
    if one.notify(title=first[:120], body=rest or first, body_format=apprise.NotifyFormat.TEXT):
        return Verdict("taken", pause_s=LEAST_PAUSE_S["apprise"])
    return Verdict("later", "apprise could not deliver it", back_off_s(tries))
