"""The sender's sign of life: a file for `rooney watch`, which looks after the sender itself."""

from pathlib import Path

import msgspec

from rooney.errors import FileError
from rooney.files import read_json, write_whole

BEAT = "beat.json"


class Beat(msgspec.Struct, frozen=True):
    """ts_ns: when; failing: channel → why nothing arrives there."""

    ts_ns: int
    failing: dict[str, str]


def write_beat(directory: Path, beat: Beat) -> None:
    """Whole or not at all."""
    write_whole(directory / BEAT, msgspec.json.encode(beat))


def read_beat(directory: Path) -> Beat | None:
    """None where no sender has ever run, or its file is torn."""
    try:
        return read_json(directory / BEAT, Beat)
    except FileError:
        return None
