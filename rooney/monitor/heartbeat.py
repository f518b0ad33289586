"""The sender's sign of life: a file for `rooney watch`, which looks after the sender itself."""

from pathlib import Path

import msgspec

BEAT = "beat.json"


class Beat(msgspec.Struct, frozen=True):
    """ts_ns: when; failing: channel → why nothing arrives there."""

    ts_ns: int
    failing: dict[str, str]


def write_beat(directory: Path, beat: Beat) -> None:
    """Whole or not at all."""
    unfinished = directory / f"{BEAT}.new"
    unfinished.write_bytes(msgspec.json.encode(beat))
    unfinished.replace(directory / BEAT)


def read_beat(directory: Path) -> Beat | None:
    """None where no sender has ever run, or its file is torn."""
    try:
        return msgspec.json.decode((directory / BEAT).read_bytes(), type=Beat)
    except (OSError, msgspec.DecodeError):
        return None
