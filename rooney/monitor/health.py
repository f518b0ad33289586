"""What needs a person: pure, from what the hub says, what the ledgers say, and the time.

`rooney watch` and the dashboard's /healthz tell the same lines; no line means that all is as it should be.
"""

from collections.abc import Mapping

import msgspec

from rooney.errors import LedgerError
from rooney.ledger.reader import Record
from rooney.market import sessions
from rooney.market.messages import HubStatus
from rooney.monitor.heartbeat import Beat

TAPE_LATE_S = 150.0  # two minutes and a half: the newest minute in session cannot be older with a live feed
WORKER_LATE_S = 120.0
HUB_SILENT_S = 10.0
CLOCK_OFF_S = 2.0
SENDER_SILENT_S = 60.0


class Seen(msgspec.Struct, frozen=True):
    """What was found. redis: why it does not answer, or nothing; groups: session groups of the instruments."""

    redis: str
    hub: HubStatus | None
    records: Mapping[str, Record | LedgerError | None]
    groups: frozenset[str]


def attention(seen: Seen, now_ns: int) -> dict[str, str]:
    """kind → line, most urgent first. A kind names one trouble for as long as it lasts, whatever its numbers."""
    found: dict[str, str] = {}
    for name, record in seen.records.items():
        if isinstance(record, Record):
            for intent in record.unconfirmed:
                found[f"unconfirmed {name} {intent}"] = f"{name}: order {intent} is unconfirmed: it may be live"
    for name, record in seen.records.items():
        if isinstance(record, LedgerError):
            found[f"ledger {name}"] = f"{name}: {record}"
        elif record is not None and record.halted:
            found[f"halted {name}"] = f"{name}: halted by its daily loss ({record.day_pnl_usd:+.2f} USD)"
    if seen.redis:
        return found | {"redis": seen.redis}
    if seen.hub is None:
        return found | {"hub": "no hub: nothing says hub:status; no new bars, no new entries"}
    found |= _of_hub(seen.hub, seen.groups, now_ns)
    for name, record in seen.records.items():
        late_s = (seen.hub.ts_tape - record.ts_mark) / 1e9 if isinstance(record, Record) and record.ts_mark else 0.0
        if late_s > WORKER_LATE_S:
            found[f"late {name}"] = f"{name}: {late_s:.0f} s behind the tape: its worker is stopped, hung or too slow"
    return found


def _of_hub(hub: HubStatus, groups: frozenset[str], now_ns: int) -> dict[str, str]:
    in_session = any(sessions.window_at(group, now_ns) is not None for group in groups)
    silent_s, tape_s = (now_ns - hub.ts_ns) / 1e9, (now_ns - hub.ts_tape) / 1e9
    ahead_s = (hub.ts_last_record - now_ns) / 1e9
    if silent_s > HUB_SILENT_S:
        return {"hub": f"the hub has said nothing for {silent_s:.0f} s"}
    if hub.state != "live" and in_session:
        return {"feed": f"the hub says: {hub.text}"}
    if ahead_s > CLOCK_OFF_S:
        return {"clock": f"the newest record is {ahead_s:.1f} s ahead of this machine's clock: the clock is wrong"}
    if in_session and tape_s > TAPE_LATE_S:
        return {"tape": f"the newest minute on the tape is {tape_s:.0f} s old, in session"}
    return {}


def sender(found: Mapping[str, str], beat: Beat | None, now_ns: int) -> dict[str, str]:
    """What is left to say of `found` beside an alert sender: all of it without one, or while it tells nobody."""
    if beat is None:
        return dict(found)
    silent_s = (now_ns - beat.ts_ns) / 1e9
    if silent_s > SENDER_SILENT_S:
        text = f"the alert sender has said nothing for {silent_s:.0f} s: systemctl status rooney-alert-sender"
        return {"alert sender": text, **found}
    if beat.failing:
        why = "; ".join(f"{channel}: {text}" for channel, text in beat.failing.items())
        return {"alert channel": f"alerts do not arrive: {why}", **found}
    return {}
