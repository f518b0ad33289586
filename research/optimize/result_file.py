"""Findings of a search, as the file they are kept in: JSON that says its format and whether it is confirmed."""

from pathlib import Path
from typing import TypeVar

import msgspec

from research.history.findings import Finding
from rooney.config.validation import Scalar
from rooney.errors import ConfigError, FileError
from rooney.files import MIB, read_json


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Common part of every such file.

    reasons:     why it is not confirmed, if it is not
    curve:       trade date, and two P&L so far, USD
    span:        first and last instant; final_from: trade date with which the period put away begins
    """

    format: int
    strategy: str
    confirmed: bool
    reasons: list[str]
    instruments: list[str]
    strategy_params: dict[str, Scalar]
    without_bars: list[str]
    measures: dict[str, float | None]
    curve: list[tuple[str, float, float]]
    data_sha256: str
    span: tuple[str, str]
    final_from: str
    closes_only: bool
    findings: list[Finding] = []


F = TypeVar("F", bound=Found)


def read(path: Path, kind: type[F], command: str, newest: int) -> F:
    """Raises ConfigError for a file that is none of `command`'s, or of a format after the newest known."""
    try:
        found = read_json(path, kind, 256 * MIB)
    except FileError as error:
        raise ConfigError(f"{path}: is no result of {command}: {error.why}") from None
    if found.format > newest:
        raise ConfigError(f"{path}: has format {found.format}, this version reads up to {newest}")
    return found
