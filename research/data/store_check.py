"""A store of history, checked again: what was kept although it may be wrong, and what must never be there."""

from pathlib import Path
from typing import Any

import polars as pl

from research.data.checks import check
from research.data.store import Part, Store, misplaced
from research.history.findings import MAX_EXAMPLES, Example, Finding, refused
from rooney.errors import ConfigError


def check_store(directory: Path) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Findings on every bar, and a row per root and timeframe with what the store holds. Raises ConfigError."""
    store = Store(directory)
    parts = store.parts()
    if not parts:
        raise ConfigError(f"{directory}: no store there: it has no ROOT/TIMEFRAME-YEAR.parquet")
    findings: list[Finding] = []
    coverage: dict[tuple[str, str], dict[str, Any]] = {}
    for part in parts:
        bars, of_part = _check_part(store, part)
        findings += of_part
        none = {"root": part.root, "timeframe": part.timeframe, "bars": 0, "contracts": set(), "first": "", "last": ""}
        row = coverage.setdefault((part.root, part.timeframe), none)
        if len(bars):
            row["bars"] += len(bars)
            row["contracts"] |= set(bars["contract"].unique())
            stamps = bars["ts_open"].dt.strftime("%Y-%m-%dT%H:%MZ")
            row["first"], row["last"] = row["first"] or stamps.min(), stamps.max()
    for cut in sorted(store.raw.rglob("*.part")):
        findings.append(Finding(str(cut), "unfinished", 1, [Example(None, f"{cut.stat().st_size:,} bytes")]))
    return findings, [row | {"contracts": len(row["contracts"])} for row in coverage.values()]


def _check_part(store: Store, part: Part) -> tuple[pl.DataFrame, list[Finding]]:
    file = str(store.directory / part.name)
    try:
        bars = store.read(part)
    except ConfigError as error:
        return pl.DataFrame(), [refused(file, str(error))]
    frame = bars.with_row_index("row", offset=1).with_columns(
        pl.col("row").cast(pl.Int64), pl.col("volume").cast(float)
    )
    strange = misplaced(part, frame)
    found = check(file, frame, stored=True).findings
    if len(strange):
        examples = [Example(row, f"{r} {t} {ts:%Y}") for row, ts, r, _, t, *_ in strange.head(MAX_EXAMPLES).iter_rows()]
        found = [*found, Finding(file, "misplaced", len(strange), examples)]
    return bars, found
