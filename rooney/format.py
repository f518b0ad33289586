"""Instants as text, ISO 8601 in UTC: as messages, files and arguments have them."""

import time


def minute(ts_ns: int) -> str:
    """2026-03-11T15:02Z"""
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(ts_ns // 1_000_000_000))


def second(ts_ns: int) -> str:
    """2026-03-11T15:02:07Z"""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ts_ns // 1_000_000_000))


def iso(ts_ns: int) -> str:
    """2026-03-11T15:02:07+00:00, as results of research are written"""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(ts_ns // 1_000_000_000))
