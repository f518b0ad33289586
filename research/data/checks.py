"""A frame of bars → the bars worth keeping, and what was wrong with the others. Pure: frames in, frames out.

Prices become the float64 that the hub would have made of the same trade: the nearest 1e-9, divided once. What only may
be wrong (a price between ticks, a stamp outside the session) is kept and said; what cannot be a bar is left out.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from research.data.frame import KEY, LENGTH_NS, MAX_EXAMPLES, PRICES, STORED, Example, Finding
from research.history.dbn import points
from research.history.history import Windows, session_windows
from rooney.format import iso_minute
from rooney.kernels.array_types import I64, Booleans
from rooney.market.instruments import MONTH_CODES, PRODUCTS, group_of
from rooney.market.sessions import HOUR_NS

GAP_NS = HOUR_NS  # thin markets are silent for minutes; so long without a trade in any contract is worth a look
GRID_TOLERANCE = 1e-4  # of a tick: float noise is no price between two ticks
_OUTRIGHT = rf"^[A-Z0-9]{{2,3}}[{MONTH_CODES}]\d{{4}}$"
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
            found.add("unknown_root", rows, [str(root)] * len(rows))
            continue
        _find_off_grid(rows, PRODUCTS[str(root)].tick_size, found)
        if timeframe in LENGTH_NS:
            _find_out_of_hours(str(root), str(timeframe), rows, found, stored)
    return Checked(frame.select(list(STORED)), found.list())


def _drop_impossible(frame: pl.DataFrame, found: "_Findings") -> pl.DataFrame:
    """Leave out what cannot be a bar, each row for the first reason that applies."""
    o, h, low, c = (pl.col(name) for name in PRICES)
    length = pl.col("timeframe").replace_strict(LENGTH_NS, default=1, return_dtype=pl.Int64)
    ns = pl.col("ts_open").dt.timestamp("ns")
    bad_price = pl.any_horizontal(
        [pl.col(name).is_null() | ~pl.col(name).is_finite() | (pl.col(name).abs() > 1e9) for name in PRICES]
    )
    volume = pl.col("volume")
    bad_volume = volume.is_null() | ~volume.is_finite() | (volume < 0) | (volume != volume.floor()) | (volume > 2**53)
    prices = pl.format("{} {} {} {}", o, h, low, c)
    reasons = [
        ("no_time", pl.col("ts_open").is_null(), pl.format("{} {}", pl.col("root"), pl.col("contract"))),
        ("no_root", ~pl.col("root").str.contains(r"^[A-Z0-9]{2,3}$"), pl.col("root")),
        ("not_outright", (pl.col("contract") != "") & ~pl.col("contract").str.contains(_OUTRIGHT), pl.col("contract")),
        (
            "wrong_root",
            (pl.col("contract") != "") & (pl.col("contract").str.head(-5) != pl.col("root")),
            pl.format("{} in {}", pl.col("contract"), pl.col("root")),
        ),
        ("off_minute", ns % length != 0, pl.col("ts_open").cast(pl.String)),
        ("not_a_number", bad_price, prices),
        ("inconsistent", (h < pl.max_horizontal(o, c, low)) | (low > pl.min_horizontal(o, c)), prices),
        ("bad_volume", bad_volume, volume.cast(pl.String).fill_null("nothing")),
        ("no_trade", (volume == 0) & (h == low), prices),
    ]
    for kind, wrong, value in reasons:
        rows = frame.filter(wrong.fill_null(True))
        if len(rows):
            found.add(kind, rows, rows.select(value.fill_null("nothing")).to_series().to_list())
            frame = frame.filter(~wrong.fill_null(True))
    for kind, kept in (("zero_volume", volume == 0), ("no_contract", pl.col("contract") == "")):
        rows = frame.filter(kept)
        found.add(kind, rows, described(rows))
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
    found.add("daily_stamp", rows, rows["ts_open"].cast(pl.String).to_list())
    return frame.filter(~pl.col("row").is_in(odd))


def _drop_repeated(frame: pl.DataFrame, found: "_Findings") -> pl.DataFrame:
    """Keep the first bar of each key."""
    first = pl.struct(*PRICES, "volume").first().over(KEY)
    frame = frame.with_columns(
        again=pl.int_range(pl.len()).over(KEY) > 0, differs=pl.struct(*PRICES, "volume").ne_missing(first)
    )
    for kind, which in (("duplicate", ~pl.col("differs")), ("conflict", pl.col("differs"))):
        rows = frame.filter(pl.col("again") & which)
        found.add(kind, rows, described(rows))
    return frame.filter(~pl.col("again")).drop("again", "differs")


def described(rows: pl.DataFrame) -> list[str]:
    """One text per bar, of the first few."""
    columns = ("contract", "root", "ts_open", *PRICES, "volume")
    return [
        f"{contract or root} {ts:%Y-%m-%dT%H:%M}Z {' '.join(f'{value:.10g}' for value in values)}"
        for contract, root, ts, *values in rows.head(MAX_EXAMPLES).select(columns).iter_rows()
    ]


def _find_unsorted(frame: pl.DataFrame, found: "_Findings") -> None:
    """In the order of the file, each contract by itself: files often hold one contract after the other."""
    latest = pl.col("ts_open").cum_max().over("root", "timeframe", "contract")
    rows = frame.sort("row").filter(pl.col("ts_open") < latest)
    found.add("unsorted", rows, described(rows))


def _find_off_grid(rows: pl.DataFrame, tick: float, found: "_Findings") -> None:
    prices = rows.select(PRICES).to_numpy() / tick
    distance = np.abs(prices - np.rint(prices))
    off = distance > GRID_TOLERANCE
    at = np.flatnonzero(off.any(axis=1))
    values = [
        f"{rows[PRICES[int(off[i].argmax())]][int(i)]:.10g}, tick {tick:.10g}" for i in at[:MAX_EXAMPLES].tolist()
    ]
    found.add("off_grid", rows[at], values)


def _find_out_of_hours(root: str, timeframe: str, rows: pl.DataFrame, found: "_Findings", stored: bool) -> None:
    ts = rows["ts_open"].dt.timestamp("ns").to_numpy()
    length = LENGTH_NS[timeframe]
    windows = _windows(root, ts)
    outside = ~_in_session(windows, ts, length)
    if not stored:
        found.add("off_session", rows.filter(pl.Series(outside)), described(rows.filter(pl.Series(outside))))
    inside = ts[~outside]
    gaps = list(_gaps(windows, inside, length))
    found.count("gap", len(gaps), [f"{root} {timeframe}: {text}" for text in gaps[:MAX_EXAMPLES]])
    if stored or not len(ts):
        return
    times = np.unique(ts)
    opens, closes = (int(np.isin(times, edge).sum()) for edge in (windows.open_ns, windows.close_ns))
    if closes > 2 * opens:
        text = f"{root} {timeframe}: {closes} bars stamped at a close of the session, {opens} at an open"
        found.count("close_stamped", 1, [text])
    before_open = int(np.isin(times + length, windows.open_ns).sum())
    before_close = int(np.isin(times + length, windows.close_ns).sum())
    if before_open > 2 * before_close:
        text = f"{root} {timeframe}: {before_open} bars end at an open of the session, {before_close} at a close"
        found.count("open_stamped", 1, [text])
    better = _better_zone(windows, times, length)
    if better is not None:
        found.count("wrong_zone", 1, [f"{root} {timeframe}: {better}"])


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


class _Findings:
    """Findings of one file, by kind."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: dict[str, tuple[int, list[Example]]] = {}

    def add(self, kind: str, rows: pl.DataFrame, values: Iterable[object]) -> None:
        """Some rows; values: what to show of the first few."""
        count, examples = self._found.get(kind, (0, []))
        more = [Example(row, str(value)) for row, value in zip(rows["row"].head(MAX_EXAMPLES), values, strict=False)]
        if len(rows):
            self._found[kind] = count + len(rows), (examples + more)[:MAX_EXAMPLES]

    def count(self, kind: str, count: int, values: list[str]) -> None:
        """What belongs to no single row."""
        before, examples = self._found.get(kind, (0, []))
        if count:
            more = [Example(None, value) for value in values]
            self._found[kind] = before + count, (examples + more)[:MAX_EXAMPLES]

    def list(self) -> "list[Finding]":
        return [Finding(self._file, kind, count, examples) for kind, (count, examples) in self._found.items()]
