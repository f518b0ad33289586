"""A frame of bars → the bars worth keeping, and what was wrong with the others. Pure: frames in, frames out.

Prices become the float64 that the hub would have made of the same trade: the nearest 1e-9, divided once. What only may
be wrong (a price between ticks, a stamp outside the session) is kept and said; what cannot be a bar is left out.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from research.data.frame import KEY, LENGTH_NS, PRICES, STORED
from research.history import kernels as runs
from research.history.dbn import points
from research.history.findings import MAX_EXAMPLES, Example, Finding, Findings
from research.history.history import Windows, session_windows
from research.history.series_names import named, rule
from rooney.format import iso_minute, price_text
from rooney.kernels.array_types import I64, Booleans
from rooney.market.instruments import PRODUCTS, group_of
from rooney.market.sessions import HOUR_NS
from rooney.market.timeframes import TIMEFRAMES

GAP_NS = HOUR_NS  # thin markets are silent for minutes; so long without a trade in any contract is worth a look
GRID_TOLERANCE = 1e-4  # of a tick: float noise is no price between two ticks
_ZONES = ("UTC", "America/Chicago", "America/New_York", "Europe/London")
# A zone is only doubted when more than this is outside the session, and another one brings it below a quarter of that.
_DOUBTFUL_SHARE = 0.02


class Checked:
    """bars: rows to keep, as `frame.STORED`, by root, timeframe, time and contract, without two of one key."""

    def __init__(self, bars: pl.DataFrame, findings: list[Finding]) -> None:
        self.bars = bars
        self.findings = findings


def check(file: str, frame: pl.DataFrame, *, stamp: str = "open", stored: bool = False) -> Checked:
    """Judge a frame of `frame.READ`.

    stamp:  `close` when bars are stamped at their end; days are stamped at the open of their trade date in any case
    stored: it comes from the store, where what only may be wrong was said when it was imported
    """
    found = _Findings(file)
    if stamp == "close":
        length = pl.col("timeframe").replace_strict(LENGTH_NS, default=0, return_dtype=pl.Int64)
        frame = frame.with_columns(pl.col("ts_open") - pl.duration(nanoseconds=length))
    frame = _drop_impossible(frame, found)
    # Several rows may share a key only after this: their prices are compared as they will be stored.
    frame = frame.with_columns(
        *(pl.Series(name, points(np.rint(frame[name].to_numpy() * 1e9).astype(np.int64))) for name in PRICES),
        pl.col("volume").cast(pl.Int64),
    )
    frame = _drop_repeated(frame, found)
    _find_unsorted(frame, found)
    frame = frame.sort("root", "timeframe", "ts_open", "contract")
    for (root, timeframe), rows in frame.group_by("root", "timeframe", maintain_order=True):
        if root not in PRODUCTS:
            found.rows("unknown_root", rows, [str(root)] * len(rows))
            continue
        _find_off_grid(rows, PRODUCTS[str(root)].tick_size, found)
        if timeframe in LENGTH_NS:
            _find_out_of_hours(str(root), str(timeframe), rows, found, stored)
    return Checked(frame.select(list(STORED)), found.list())


def _drop_impossible(frame: pl.DataFrame, found: "_Findings") -> pl.DataFrame:
    """Leave out what cannot be a bar, each row for the first reason that applies, as a backtest does."""
    kinds = frame.select("root", "contract", "timeframe").unique(maintain_order=True)
    rules = [
        rule(TIMEFRAMES.index(timeframe), root, contract, named(contract, root)[2])
        for root, contract, timeframe in kinds.iter_rows()
    ]
    keys = frame.join(kinds.with_row_index("key"), on=kinds.columns, how="left", maintain_order="left")["key"]
    lacks = np.empty(len(frame), np.uint8)
    runs.judge(
        frame["ts_open"].dt.timestamp("ns").fill_null(0).to_numpy(),
        keys.cast(pl.Int32).to_numpy(writable=True),
        np.array([*rules, runs.NO_RULE.item()], runs.RULE),
        *(-1 << 62, 1 << 62),
        *(frame[name].fill_null(np.nan).to_numpy() for name in (*PRICES, "volume")),
        lacks,
    )
    for number in np.unique(lacks[lacks > 0]).tolist():
        rows = frame.filter(pl.Series(lacks == number))
        found.rows(runs.LACKS[number], rows, described(rows))
    frame, volume = frame.filter(pl.Series(lacks == 0)), pl.col("volume")
    for kind, kept in (("zero_volume", volume == 0), ("no_contract", pl.col("contract") == "")):
        rows = frame.filter(kept)
        found.rows(kind, rows, described(rows))
    return _drop_odd_days(frame, found)


def _drop_odd_days(frame: pl.DataFrame, found: "_Findings") -> pl.DataFrame:
    """A daily bar belongs to a trade date: one that begins elsewhere holds another day's evening."""
    odd: list[int] = []
    days = frame.filter(pl.col("timeframe") == "daily")
    for (root,), rows in days.group_by("root", maintain_order=True):
        ts = rows["ts_open"].dt.timestamp("ns").to_numpy()
        windows = _windows(str(root), ts)
        odd += rows.filter(pl.Series(~np.isin(ts, windows.day_open_ns)))["row"].to_list()
    rows = frame.filter(pl.col("row").is_in(odd))
    if rows.is_empty():
        return frame
    found.rows("daily_stamp", rows, rows["ts_open"].cast(pl.String).to_list())
    return frame.filter(~pl.col("row").is_in(odd))


def _drop_repeated(frame: pl.DataFrame, found: "_Findings") -> pl.DataFrame:
    """Keep the first bar of each key."""
    first = pl.struct(*PRICES, "volume").first().over(KEY)
    frame = frame.with_columns(
        again=pl.int_range(pl.len()).over(KEY) > 0, differs=pl.struct(*PRICES, "volume").ne_missing(first)
    )
    for kind, which in (("duplicate", ~pl.col("differs")), ("conflict", pl.col("differs"))):
        rows = frame.filter(pl.col("again") & which)
        found.rows(kind, rows, described(rows))
    return frame.filter(~pl.col("again")).drop("again", "differs")


def described(rows: pl.DataFrame) -> list[str]:
    """One text per bar, of the first few."""
    columns = ("contract", "root", "ts_open", *PRICES, "volume")
    return [
        " ".join(
            (
                contract if contract.startswith(root) else f"{contract} in {root}".strip(),
                f"{ts:%Y-%m-%dT%H:%M:%S}Z" if ts else "no time",
            )
            + tuple("nothing" if value is None else price_text(value) for value in values)
        )
        for contract, root, ts, *values in rows.head(MAX_EXAMPLES).select(columns).iter_rows()
    ]


def _find_unsorted(frame: pl.DataFrame, found: "_Findings") -> None:
    """In the order of the file, each contract by itself: files often hold one contract after the other."""
    latest = pl.col("ts_open").cum_max().over("root", "timeframe", "contract")
    rows = frame.sort("row").filter(pl.col("ts_open") < latest)
    found.rows("unsorted", rows, described(rows))


def _find_off_grid(rows: pl.DataFrame, tick: float, found: "_Findings") -> None:
    prices = rows.select(PRICES).to_numpy() / tick
    distance = np.abs(prices - np.rint(prices))
    off = distance > GRID_TOLERANCE
    at = np.flatnonzero(off.any(axis=1))
    values = [
        f"{rows[PRICES[int(off[i].argmax())]][int(i)]:.10g}, tick {tick:.10g}" for i in at[:MAX_EXAMPLES].tolist()
    ]
    found.rows("off_grid", rows[at], values)


def _find_out_of_hours(root: str, timeframe: str, rows: pl.DataFrame, found: "_Findings", stored: bool) -> None:
    ts = rows["ts_open"].dt.timestamp("ns").to_numpy()
    length = LENGTH_NS[timeframe]
    windows = _windows(root, ts)
    outside = ~_in_session(windows, ts, length)
    if not stored:
        found.rows("off_session", rows.filter(pl.Series(outside)), described(rows.filter(pl.Series(outside))))
    inside = ts[~outside]
    gaps = list(_gaps(windows, inside, length))
    found.texts("gap", len(gaps), [f"{root} {timeframe}: {text}" for text in gaps[:MAX_EXAMPLES]])
    if stored or not len(ts):
        return
    times = np.unique(ts)
    opens, closes = (int(np.isin(times, edge).sum()) for edge in (windows.open_ns, windows.close_ns))
    if closes > 2 * opens:
        text = f"{root} {timeframe}: {closes} bars stamped at a close of the session, {opens} at an open"
        found.texts("close_stamped", 1, [text])
    before_open = int(np.isin(times + length, windows.open_ns).sum())
    before_close = int(np.isin(times + length, windows.close_ns).sum())
    if before_open > 2 * before_close:
        text = f"{root} {timeframe}: {before_open} bars end at an open of the session, {before_close} at a close"
        found.texts("open_stamped", 1, [text])
    better = _better_zone(windows, times, length)
    if better is not None:
        found.texts("wrong_zone", 1, [f"{root} {timeframe}: {better}"])


def _windows(root: str, ts: I64) -> Windows:
    """Session windows around all of `ts`, a few days more on either side."""
    return session_windows(group_of(root), int(ts.min()) - 120 * HOUR_NS, int(ts.max()) + 120 * HOUR_NS)


def _in_session(windows: Windows, ts: I64, length: int) -> Booleans:
    """Whether [ts, ts + length) shares a minute with a window: an hour may begin before its session does."""
    following = np.searchsorted(windows.close_ns, ts, side="right")
    found: Booleans = windows.open_ns[np.minimum(following, len(windows.open_ns) - 1)] < ts + length
    return found & (following < len(windows.open_ns))


def _gaps(windows: Windows, ts: I64, length: int) -> Iterator[str]:
    """Stretches of session time without a bar, longer than GAP_NS and than a bar."""
    times = np.unique(ts)
    before = np.concatenate(([0], np.cumsum(windows.close_ns - windows.open_ns)))

    def traded_ns(at: I64) -> I64:
        """Session time that has passed at an instant."""
        i = np.searchsorted(windows.open_ns, at, side="right") - 1
        within: I64 = np.minimum(at, windows.close_ns[i]) - windows.open_ns[i]
        return before[i] + within

    missing = traded_ns(times[1:]) - traded_ns(times[:-1] + length)
    for i in np.flatnonzero(missing > max(GAP_NS, length)).tolist():
        begin, end = iso_minute(int(times[i]) + length), iso_minute(int(times[i + 1]))
        yield f"{begin} to {end}, {missing[i] / HOUR_NS:.1f} session hours"


def _better_zone(windows: Windows, times: I64, length: int) -> str | None:
    """What to say when the stamps, read as wall time of another zone, fit the sessions and now they do not."""
    now = 1 - float(_in_session(windows, times, length).mean())
    if now < _DOUBTFUL_SHARE:
        return None
    wall = pl.Series(times).cast(pl.Datetime("ns"))
    shares = {}
    for zone in _ZONES[1:]:
        moved = wall.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.timestamp("ns").drop_nulls()
        shares[zone] = 1 - float(_in_session(windows, moved.to_numpy(), length).mean())
    zone = min(shares, key=lambda name: shares[name])
    if shares[zone] > now / 4:
        return None
    return f"{now:.0%} outside the session; read as {zone} it would be {shares[zone]:.0%}"


class _Findings(Findings):
    """Findings of a frame."""

    def rows(self, kind: str, rows: pl.DataFrame, values: Iterable[object]) -> None:
        """Some rows; values: what to show of the first few."""
        first = zip(rows["row"].head(MAX_EXAMPLES), values, strict=False)
        self.add(kind, len(rows), [Example(row, str(value)) for row, value in first])

    def texts(self, kind: str, count: int, values: list[str]) -> None:
        """What belongs to no single row."""
        self.add(kind, count, [Example(None, value) for value in values])
