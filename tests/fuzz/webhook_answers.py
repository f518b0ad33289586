"""Answers of Slack and Discord to the alert sender: each is a verdict, with a pause within its bounds."""

from collections import Counter

from rooney.alerts.services import MAX_PAUSE_S, SERVICES, judge
from tests.support.mutations import Reader, sweep

ANSWERS = [
    b'429|Retry-After: 30|{"retry_after": 64.57, "code": 0, "global": false}',
    b"503|Retry-After: Mon, 30 Nov 2026 06:01:30 GMT|<html>",
    b'404|X-RateLimit-Reset-After: 1.5|{"code": 10015}',
    b"403|X-RateLimit-Remaining: 0|no_service",
    b"200|X-RateLimit-Remaining: 0|ok",
]
DATE = {"Date": "Mon, 30 Nov 2026 06:00:00 GMT", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "2"}


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by reader and verdict."""
    return sweep({"answer": Reader(valid=ANSWERS, read=_read, errors=())}, cases, seed)


def _read(content: bytes) -> None:
    head, _, text = content.decode("utf-8", "replace").partition("|")
    header, _, body = text.partition("|")
    name, _, value = header.partition(": ")
    status = int(head) if head.isascii() and head.isdecimal() and len(head) < 9 else 503
    for service in SERVICES:
        found = judge(service, status, DATE | {name: value}, body, 3)
        assert 0.0 <= found.pause_s <= MAX_PAUSE_S
