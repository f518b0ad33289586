"""The features of the old system's models and filters by name, with standard definitions, and its own under NAME_v1.

Standard means: Wilder's RSI, the last completed bar of every timeframe, the current hourly bar where the old code was
a bar late, percentiles over the last 252 values. Where the old number differs, NAME_v1 is the old one; where it does
not, NAME_v1 and NAME are the same. Names are read as the old models' were: case and punctuation do not matter.

Units: `_pct` of a price change and returns are in percent; other `_pct` and `_percentile` are ranks in (0, 1], ATR
percentiles in [0, 100); sides and codes are small whole numbers (1 yes, 2 no).
"""

import difflib
import re
from collections.abc import Callable

from rooney.errors import StrategyError
from rooney.features.aliases import ALIASES
from rooney.features.feature import Feature

PERCENTILE_WINDOW = 252
PERCENTILE_V1_KEPT = 16_384  # exact until so many values are in, then the oldest leaves
FIRST_BAR_V1 = 252  # the old system first looked at its 252nd hourly bar
PIVOT = (5, 5, 1)
PIVOT_V1 = (5, 5, FIRST_BAR_V1)
HOURLY, DAILY, AHEAD = "hourly", "daily", "daily_ahead"
# 20 roots had cross features; the grains came later
CROSS = (
    "ES",
    "NQ",
    "RTY",
    "YM",
    "GC",
    "SI",
    "HG",
    "PL",
    "6A",
    "6B",
    "6C",
    "6E",
    "6J",
    "6M",
    "6N",
    "6S",
    "CL",
    "NG",
    "TLT",
    "VIX",
    "ZC",
    "ZS",
    "ZW",
    "ZB",
)

Length = int | float | tuple[int | float | str, ...]


def _bar(kernel: str, length: Length = 1, timeframe: str = HOURLY, symbol: str = "") -> Feature:
    return Feature(kernel, timeframe, length, (), symbol)


def _of(kernel: str, *inputs: Feature, length: Length = 1, timeframe: str = "", symbol: str = "") -> Feature:
    """A kernel over features, on the timeframe of the first unless told otherwise."""
    return Feature(kernel, timeframe or inputs[0].timeframe, length, inputs, symbol)


def _close(timeframe: str = HOURLY, symbol: str = "") -> Feature:
    return _bar("close", 1, timeframe, symbol)


def _return(n: int, timeframe: str = HOURLY) -> Feature:
    return _of("return_pct", _close(timeframe), length=n)


def _ema(n: int, timeframe: str = HOURLY) -> Feature:
    return _of("ema", _close(timeframe), length=n)


def _bollinger(kernel: str, timeframe: str = HOURLY) -> Feature:
    return _of(kernel, _close(timeframe), length=(20, 2.0))


def _slope(timeframe: str = HOURLY) -> Feature:
    return _of("ratio", _of("change", _ema(20, timeframe), length=5), _bar("atr", 14, timeframe))


def _squeeze(timeframe: str) -> Feature:
    return _of("ratio", _bar("range", 1, timeframe), _bar("atr", 14, timeframe))


def _atr_z(timeframe: str = HOURLY) -> Feature:
    return _of("zscore", _bar("atr", 5, timeframe), length=252)


def _volume_z(timeframe: str = HOURLY) -> Feature:
    return _of("zscore", _of("sma", _bar("volume", 1, timeframe), length=5), length=252)


def _rank(of: Feature) -> Feature:
    return _of("percentile", of, length=PERCENTILE_WINDOW)


_NUMBER = _bar("bar_number")
# Markers of the old percentiles: one value is taken for each change. Nothing was looked at before bar 252.
_EACH_BAR = _of("from_number", _NUMBER, _NUMBER, length=FIRST_BAR_V1)
_EACH_DAY = _of("from_number", _bar("bar_number", 1, DAILY), _NUMBER, length=FIRST_BAR_V1, timeframe=HOURLY)
_EACH_PAIR_BAR = _of("from_number", _bar("bar_number", symbol="pair"), _NUMBER, length=FIRST_BAR_V1)
_DATE_BEFORE = _of("from_number", _of("lag", _bar("date")), _NUMBER, length=FIRST_BAR_V1)


def _rank_v1(of: Feature, marker: Feature = _EACH_BAR) -> Feature:
    return _of("percentile_v1", of, marker, length=PERCENTILE_V1_KEPT, timeframe=HOURLY)


_SAR = _bar("psar", (0.02, 0.2))
_SHORT_OVER_LONG = _of("ratio", _bar("atr", 10), _bar("atr", 100))
_PAIR_SPREAD = _of("difference", _close(), _close(symbol="pair"))
_VIX = _close(DAILY, "VIX")
_ZERO_V1 = _bar("zero_v1")

_STANDARD: dict[str, Feature] = {
    # calendar
    "weekday": _bar("weekday"),
    "month": _bar("month"),
    "day": _bar("day"),
    "day_after_25": _bar("day_after", 25),
    "week_start": _bar("week_start"),
    "even_odd": _bar("even_odd"),
    "session": _bar("session_code"),
    "open_close": _bar("open_close"),
    "hhmm": _bar("hhmm"),
    # price changes, in percent
    "price_usd": _close(),
    "prev_day_pct": _return(1, DAILY),
    "prev_bar_pct": _return(1),
    "return_4": _return(4),
    "return_4_daily": _return(4, DAILY),
    "above_daily_close": _of("above", _close(), _close(DAILY)),
    # internal bar strength
    "ibs": _bar("ibs"),
    "prev_ibs": _of("lag", _bar("ibs")),
    "daily_ibs": _bar("ibs", 1, DAILY),
    "prev_daily_ibs": _of("lag", _bar("ibs", 1, DAILY)),
    # the pair
    "pair_ibs": _bar("ibs", symbol="pair"),
    "pair_z": _of("zscore", _PAIR_SPREAD, length=20),
    "rsi2": _bar("rsi", 14, symbol="pair"),
    # volatility index
    "value": _VIX,
    "vix_regime": _of("below", _VIX, _of("median", _VIX, length=100)),
    # relative strength
    "rsi": _bar("rsi", 5),
    "rsi_len2": _bar("rsi", 2),
    "rsi_len14": _bar("rsi", 14),
    "daily_rsi": _bar("rsi", 5, DAILY),
    "daily_rsi2": _bar("rsi", 2, DAILY),
    "daily_rsi14": _bar("rsi", 14, DAILY),
    # standard scores
    "atrz": _atr_z(),
    "volz": _volume_z(),
    "datrz": _atr_z(DAILY),
    "dvolz": _volume_z(DAILY),
    "z_score": _of("zscore", _close(), length=20),
    "dist_z": _of("distance_z", _close(), length=(20, 20)),
    "mom3_z": _of("zscore", _of("change", _close(), length=3), length=20),
    # volatility
    "atr14": _bar("atr", 14),
    "tratr": _of("ratio", _bar("true_range"), _bar("atr", 20)),
    "range_compression_atr": _squeeze(HOURLY),
    "daily_range_compression": _squeeze(DAILY),
    "hourly_atr_percentile": _of("percentile_strict", _bar("atr", 14), length=252),
    "daily_atr_percentile": _of("percentile_strict", _bar("atr", 14, DAILY), length=252),
    "twrc": _of("compression", _SHORT_OVER_LONG, length=(0.7, 10.0)),
    # trend
    "hourly_directional_drift": _of("drift", _close(), length=50),
    "daily_directional_drift": _of("drift", _close(DAILY), length=20),
    "spiral_efficiency_ratio": _of("spiral", _close(), length=(5, 20, 60)),
    "ma_slope_fast": _slope(),
    "daily_slope_fast": _slope(DAILY),
    "ma_spread_ribbon_tightness": _of("absolute", _of("difference", _ema(20), _ema(50))),
    "above_ema8": _of("above", _close(), _ema(8)),
    "above_ema20": _of("above", _close(), _ema(20)),
    "above_ema50": _of("above", _close(), _ema(50)),
    "above_ema200": _of("above", _close(), _ema(200)),
    "above_ema20_daily": _of("above", _close(DAILY), _ema(20, DAILY)),
    "above_ema50_daily": _of("above", _close(DAILY), _ema(50, DAILY)),
    "above_ema200_daily": _of("above", _close(DAILY), _ema(200, DAILY)),
    "adx_value": _bar("adx", 14),
    "daily_adx_value": _bar("adx", 14, DAILY),
    "parabolic_sar_distance": _of("difference", _close(), _SAR),
    # bands and channels
    "bb": _bollinger("bollinger_position"),
    "bb_high": _bollinger("bollinger_excess"),
    "bb_high_d": _bollinger("bollinger_excess", DAILY),
    "bollinger_bandwidth_daily": _bollinger("bollinger_width"),  # named so, always hourly
    "donch": _bar("channel_side", 20, DAILY),
    "donch_hourly": _bar("channel_side", 20),
    "donchian_proximity_to_nearest_band": _of("ratio", _bar("channel_distance", 20), _of("lag", _bar("atr", 14))),
    # patterns
    "bear_count": _bar("bear_run"),
    "bull_count": _bar("bull_run"),
    "inside_bar": _bar("inside_bar"),
    "narrowest_7": _bar("narrowest", 7),
    # pivots; zones are in average true ranges from the last pivot
    "pivot_high": _bar("pivot_high", PIVOT),
    "pivot_low": _bar("pivot_low", PIVOT),
    "fractalpivot": _bar("pivot_position", PIVOT),
    "pivot_higher_high": _bar("pivot_higher_high", PIVOT),
    "daily_pivot_high": _bar("pivot_high", PIVOT, DAILY),
    "daily_pivot_low": _bar("pivot_low", PIVOT, DAILY),
    "supply_zone": _of("ratio", _of("difference", _close(), _bar("pivot_low", PIVOT)), _bar("atr", 14)),
    "supply_zone_high": _of("ratio", _of("difference", _close(), _bar("pivot_high", PIVOT)), _bar("atr", 14)),
    # products
    "ibsxatrz": _of("product", _bar("ibs"), _atr_z()),
    "ibsxvolz": _of("product", _bar("ibs"), _volume_z()),
    "rsixatrz": _of("product", _bar("rsi", 5), _atr_z()),
    "rsixvolz": _of("product", _bar("rsi", 5), _volume_z()),
}

_OLD: dict[str, Feature] = {
    # of the last evaluation that ran to its end, not of the last bar
    "prev_ibs": _of("remembered_v1", _bar("ibs")),
    # the hourly feed was taken for a daily one and read a bar back
    "prev_bar_pct": _of("lag", _return(1)),
    "ma_slope_fast": _of("lag", _slope()),
    "bear_count": _of("lag", _bar("bear_run")),
    "bull_count": _of("lag", _bar("bull_run")),
    "inside_bar": _of("lag", _bar("inside_bar")),
    # the average loss was that of the bar before
    "rsi": _bar("rsi_v1", 5),
    "rsi_len2": _bar("rsi_v1", 2),
    "rsi_len14": _bar("rsi_v1", 14),
    "rsi2": _bar("rsi_v1", 14, symbol="pair"),
    # over the last 252 bars that were looked at, or fewer
    "hourly_atr_percentile": _of("percentile_strict_v1", _bar("atr", 14), _EACH_BAR, length=252),
    "daily_atr_percentile": _of(
        "percentile_strict_v1", _bar("atr", 14, DAILY), _EACH_DAY, length=252, timeframe=HOURLY
    ),
    # the session in progress, as it will have been when it is over
    "daily_adx_value": _bar("adx", 14, AHEAD),
    "daily_pivot_high": _of(
        "latest_high_v1", _bar("high", 1, AHEAD), _bar("bar_number", 1, AHEAD), length=PIVOT_V1, timeframe=HOURLY
    ),
    "daily_pivot_low": _of(
        "latest_low_v1", _bar("low", 1, AHEAD), _bar("bar_number", 1, AHEAD), length=PIVOT_V1, timeframe=HOURLY
    ),
    # the streak began with the first bar that was looked at
    "twrc": _of("compression", _of("from_number", _SHORT_OVER_LONG, _NUMBER, length=FIRST_BAR_V1), length=(0.7, 10.0)),
    # the close was compared with a channel it is part of
    "donch": _bar("channel_side_v1", 20, DAILY),
    # pivots were looked for from the first bar that was looked at
    "pivot_high": _bar("pivot_high", PIVOT_V1),
    "pivot_low": _bar("pivot_low", PIVOT_V1),
    "fractalpivot": _bar("pivot_position", PIVOT_V1),
    "pivot_higher_high": _bar("pivot_higher_high", PIVOT_V1),
    "supply_zone": _of("ratio", _of("difference", _close(), _bar("pivot_low", PIVOT_V1)), _bar("atr", 14)),
    "supply_zone_high": _of("ratio", _of("difference", _close(), _bar("pivot_high", PIVOT_V1)), _bar("atr", 14)),
    # never computed for a model, which was given 0
    "mom3_z": _ZERO_V1,
    "value": _ZERO_V1,
    "vix_regime": _ZERO_V1,
    "rsixatrz": _ZERO_V1,
    "rsixvolz": _ZERO_V1,
    # ... unless the model asked for what they are made of, as those of 6E and HG did
    "rsixatrz_asked": _of("product", _bar("rsi_v1", 5), _atr_z()),
    "rsixvolz_asked": _of("product", _bar("rsi_v1", 5), _volume_z()),
}

# Deviations were taken in one pass, which is seen in the ninth digit; and so in every rank of equal values.
_ONE_PASS = {
    "zscore": "zscore_v1",
    "distance_z": "distance_z_v1",
    "cross_z": "cross_z_v1",
    "bollinger_position": "bollinger_position_v1",
    "bollinger_width": "bollinger_width_v1",
}


def _one_pass(feature: Feature) -> Feature:
    of = tuple(map(_one_pass, feature.of))
    return Feature(_ONE_PASS.get(feature.kernel, feature.kernel), feature.timeframe, feature.length, of, feature.symbol)


for _name, _standard in _STANDARD.items():
    _old_one = _one_pass(_OLD.get(_name, _standard))
    if _name in _OLD or _old_one != _standard:
        _OLD[_name] = _old_one

# Ranked features: NAME_pct. A few are known under _percentile as well.
_RANKED = (
    "ibs",
    "prev_ibs",
    "daily_ibs",
    "pair_ibs",
    "pair_z",
    "prev_bar_pct",
    "prev_day_pct",
    "value",
    "rsi",
    "rsi_len2",
    "rsi2",
    "daily_rsi",
    "atrz",
    "volz",
    "datrz",
    "dvolz",
    "dist_z",
    "mom3_z",
    "tratr",
    "bb",
)
for _name in _RANKED:
    _STANDARD[f"{_name}_pct"] = _rank(_STANDARD[_name])
    _old = _OLD.get(_name, _STANDARD[_name])
    if _old == _ZERO_V1:
        _OLD[f"{_name}_pct"] = _ZERO_V1
    elif _name in ("pair_ibs", "pair_z"):
        _OLD[f"{_name}_pct"] = _rank_v1(_old, _EACH_PAIR_BAR)
    elif _name == "ibs":  # one value a day: the first bar looked at after the date of the bar before has changed
        _OLD["ibs_pct"] = _rank_v1(_old, _DATE_BEFORE)
    else:
        _OLD[f"{_name}_pct"] = _rank_v1(_old, _EACH_BAR if _old.timeframe == HOURLY else _EACH_DAY)

_CROSS_NAME = re.compile(r"(\w+?)_(hourly|daily)_(return|z_score|return_pipeline|z_pipeline|z_score_pipeline)(_v1)?")
_CROSS_SWITCH = re.compile(r"enable(\w+?)(zscore|return)(hour|day)(_v1)?")
_CROSS_KINDS: dict[str, Callable[[Feature], Feature]] = {
    "return": lambda close: _of("return_pct", close),
    "z_score": lambda close: _of("cross_z", close, length=(20, 252)),
    "z_pipeline": lambda close: _of("stdev_floored", close, length=252),  # the denominator of the score
}


def _cross(name: str) -> Feature | None:
    """`es_hourly_return`, `gc_daily_z_score`, `cl_hourly_z_pipeline` and what else they were called."""
    if match := _CROSS_NAME.fullmatch(name):
        root, timeframe, kind, old = match.groups()
    elif match := _CROSS_SWITCH.fullmatch(name):
        root, kind, span, old = match.groups()
        timeframe = {"hour": HOURLY, "day": DAILY}[span]
        kind = {"zscore": "z_score", "return": "return"}[kind]
    else:
        return None
    if root.upper() not in CROSS:
        raise StrategyError(f"feature {name!r}: no such instrument; cross features are of {', '.join(CROSS)}")
    if old and root == "vix":
        return _ZERO_V1  # the old system had no feed of it
    kind = {"return_pipeline": "return", "z_score_pipeline": "z_pipeline"}.get(kind, kind)
    local = _CROSS_KINDS[kind](_close(timeframe))
    if old:
        local = _one_pass(local)
    return Feature(local.kernel, timeframe, local.length, local.of, root.upper())


def names() -> list[str]:
    """All names in order, without aliases, `_v1` and cross features."""
    return sorted(_STANDARD)


def catalogue(name: str) -> Feature:
    """The feature of this name or alias. Raises StrategyError naming near matches.

    NAME_v1 is the old system's number, or the same one where it had no defect. Cross features go by pattern:
    ROOT_{hourly|daily}_{return|z_score|z_pipeline}.
    """
    key = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    old = key.endswith("_v1")
    base = key.removesuffix("_v1")
    base = ALIASES.get(base, base)
    feature = (_OLD.get(base) if old else None) or _STANDARD.get(base) or _cross(key)
    if feature is not None:
        return feature
    near = difflib.get_close_matches(base, [*_STANDARD, *ALIASES], n=3, cutoff=0.5)
    said = f"did you mean {' or '.join(near)}?" if near else "rooney.features.catalogue.names() lists what there is"
    raise StrategyError(f"feature {name!r} is not in the library; {said}")
