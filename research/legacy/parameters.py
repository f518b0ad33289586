"""The old system's parameters (its specification §1.2, §1.7) → parameters, filters and windows of `ibs`.

Only what a parameter changes from its default is looked at; a name that is not known is refused.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from rooney.errors import StrategyError
from rooney.features.catalogue import DAILY, HOURLY, catalogue
from rooney.features.feature import Feature
from rooney.strategy.filters import Filter

Old = Mapping[str, Any]
_MOST = 1e300
PIVOT_V1 = (5, 5, "first_bar")
TICKS = {  # old system §7: several were a whole pip where the exchange's minimum is smaller
    "ES": 0.25,
    "NQ": 0.25,
    "RTY": 0.1,
    "YM": 1.0,
    "GC": 0.1,
    "SI": 0.005,
    "HG": 0.0005,
    "PL": 0.1,
    "CL": 0.01,
    "NG": 0.001,
    "6A": 0.0001,
    "6B": 0.0001,
    "6C": 0.0001,
    "6E": 0.00005,
    "6J": 0.0000005,
    "6M": 0.00005,
    "6N": 0.0001,
    "6S": 0.0001,
    "TLT": 0.01,
}


class Translation(msgspec.Struct, frozen=True):
    """An old configuration in today's terms. auto_close: start of the bar on which it fires, "off" never."""

    params: dict[str, Any]
    filters: dict[str, Filter]
    entry_windows: tuple[str, ...]
    auto_close: str


def _v1(name: str) -> Feature:
    return catalogue(f"{name}_v1")


def _band(feature: Feature, low: str, high: str, lows: float, highs: float, missing: Any = "pass") -> Any:
    def build(old: Old) -> Filter:
        return Filter(feature, low=float(old.get(low, lows)), high=float(old.get(high, highs)), missing=missing)

    return build


def _codes(feature: Feature, key: str, default: str) -> Any:
    def build(old: Old) -> Filter:
        return Filter(feature, allowed=tuple(int(code) for code in str(old.get(key, default)).split(",")))

    return build


def _side(feature: Feature, key: str) -> Any:
    def build(old: Old) -> Filter:
        # A tie is on neither side, so the code of "below" cannot be taken from "above".
        kernel = "above" if str(old.get(key, "Above")) == "Above" else "below"
        return Filter(msgspec.structs.replace(feature, kernel=kernel), allowed=(1,))

    return build


def _beyond(feature: Feature, direction: str, threshold: str, side: str, limit: float, strict: bool = False) -> Any:
    def build(old: Old) -> Filter:
        at = float(old.get(threshold, limit))
        above = str(old.get(direction, side)).startswith("Above")
        bound = {(True, False): "low", (False, False): "high", (True, True): "above", (False, True): "below"}
        return Filter(feature, **{bound[above, strict]: at}, missing="pass")  # type: ignore[arg-type]

    return build


def _bollinger(old: Old) -> Filter:
    where = str(old.get("bbDir", "Below Lower"))
    bounds: dict[str, Any] = {
        "Above Upper": {"above": 1.0},
        "Below Lower": {"below": 0.0},
        "Above Mid": {"above": 0.5},
        "Below Mid": {"below": 0.5},
        "Inside": {"low": 0.0, "high": 1.0},
    }
    return Filter(_v1("bb"), missing="block" if where == "Inside" else "pass", **bounds[where])


def _donchian(old: Old) -> Filter:
    where = str(old.get("donchDir", "Above"))
    name = "donch_hourly" if old.get("donchTF", "Daily") == "Hourly" else "donch"
    code = {"Above": 1, "Below": 2, "Inside": 3}[where]
    return Filter(_v1(name), allowed=(code,), missing="block" if where == "Inside" else "pass")


def _compression(old: Old) -> Filter:
    length = (float(old.get("twrcThreshold", 0.7)), float(old.get("twrcTau", 10)))
    return Filter(msgspec.structs.replace(_v1("twrc"), length=length), low=float(old.get("twrcTrigger", 0.5)))


def _spread(old: Old) -> Filter:
    feature = _v1("ma_spread_ribbon_tightness")
    if old.get("maSpreadUseATR"):
        feature = Feature("ratio", HOURLY, 1, (feature, Feature("atr", HOURLY, 14)))
    return Filter(feature, low=float(old.get("maSpreadLow", 0.0)), high=float(old.get("maSpreadHigh", math.inf)))


def _psar(old: Old) -> Filter:
    feature = _v1("parabolic_sar_distance")
    if old.get("psarUseAbs", True):
        feature = Feature("absolute", HOURLY, 1, (feature,))
    return Filter(
        feature, low=float(old.get("psarLow", 0.0)), high=float(old.get("psarHigh", math.inf)), missing="pass"
    )


def _month_day(old: Old) -> Filter:
    return Filter(_v1("day"), above=float(old.get("dom_day", 25)))


def _even_odd(old: Old) -> Filter:
    return Filter(_v1("even_odd"), allowed=(1 if old.get("even_odd_sel", "Even") == "Even" else 2,))


def _zone(old: Old) -> Filter:
    name = "supply_zone_high" if old.get("entry_setting") == "hh above" else "supply_zone"
    return Filter(_v1(name), low=float(old.get("zoneATRLowMult", 0)), high=float(old.get("zoneATRHighMult", 1)))


def _slope(timeframe: str) -> Feature:
    """Passes while there is no average true range yet, blocks while only the average five bars back is missing."""
    average = Feature("ema", timeframe, 20, (Feature("close", timeframe),))
    return Feature(
        "ratio_v1", timeframe, 1, (Feature("change", timeframe, 5, (average,)), Feature("atr", timeframe, 14))
    )


# switch → filter; defaults, strictness and what a missing value does: §1.7
SWITCHES: dict[str, Callable[[Old], Filter]] = {
    "enable_dow": _codes(_v1("weekday"), "allowed_dow", "1,2,3,4,5"),
    "enable_month": _codes(_v1("month"), "allowed_month", "1,2,3,4,5,6,7,8,9,10,11,12"),
    "enable_dom": _month_day,
    "enable_beg_week": lambda old: Filter(_v1("week_start"), allowed=(1,)),
    "enable_even_odd": _even_odd,
    "enable_prev_day_pct": _band(_v1("prev_day_pct"), "prev_day_pct_low", "prev_day_pct_high", -2, 2, "block"),
    "enable_prev_bar_pct": _band(_v1("prev_bar_pct"), "prev_bar_pct_low", "prev_bar_pct_high", -1, 1, "block"),
    "enable_daily_ibs": _band(_v1("daily_ibs"), "daily_ibs_low", "daily_ibs_high", 0, 0.2, "block"),
    "enable_prev_ibs": _band(_v1("prev_ibs"), "prev_ibs_low", "prev_ibs_high", 0.8, 1),
    "enable_prev_ibs_daily": _band(_v1("prev_daily_ibs"), "prev_ibs_daily_low", "prev_ibs_daily_high", 0.8, 1, "block"),
    "enable_pair_ibs": _band(_v1("pair_ibs"), "pair_ibs_low", "pair_ibs_high", 0, 0.2, "block"),
    "enable_pair_z": _band(_v1("pair_z"), "pair_z_low", "pair_z_high", -2, 2),
    "use_val_filter": _band(_v1("value"), "val_low", "val_high", 0, 15),
    "enable_rsi_entry": _band(_v1("rsi"), "rsi_entry_low", "rsi_entry_high", 40, 60),
    "enable_rsi_entry2_len": _band(_v1("rsi_len2"), "rsi_entry2_low", "rsi_entry2_high", 0, 40),
    "enable_rsi_entry14_len": _band(_v1("rsi_len14"), "rsi_entry14_low", "rsi_entry14_high", 40, 60),
    "enable_rsi_entry2": _band(_v1("rsi2"), "rsi2_entry_low", "rsi2_entry_high", 0, 40),
    "enableDailyRSI": _band(_v1("daily_rsi"), "dailyRSILow", "dailyRSIHigh", 0, 40),
    "enableDailyRSI2Len": _band(_v1("daily_rsi2"), "dailyRSI2Low", "dailyRSI2High", 0, 40),
    "enableDailyRSI14Len": _band(_v1("daily_rsi14"), "dailyRSI14Low", "dailyRSI14High", 40, 60),
    "enableATRZ": _band(_v1("atrz"), "atrLow", "atrHigh", -2, 2),
    "enableVolZ": _band(_v1("volz"), "volLow", "volHigh", -2, 2),
    "enableDATRZ": _band(_v1("datrz"), "dAtrLow", "dAtrHigh", -2, 2),
    "enableDVolZ": _band(_v1("dvolz"), "dVolLow", "dVolHigh", -2, 2),
    "enableZScore": _band(_v1("z_score"), "zScoreLow", "zScoreHigh", -2, 2),
    "enableDistZ": _beyond(_v1("dist_z"), "distZDir", "distZThresh", "Below", -1.5, strict=True),
    "enableMom3": _beyond(catalogue("mom3_z"), "mom3Dir", "mom3Thresh", "Below", -1.5),
    "enableTRATR": _beyond(_v1("tratr"), "tratrDir", "tratrThresh", "Above", 1.2),
    "enableBearCount": lambda old: Filter(_v1("bear_count"), low=float(old.get("bearMin", 2))),
    "enableBullishBarCount": lambda old: Filter(_v1("bull_count"), low=float(old.get("bullMin", 2))),
    "enableInsideBar": lambda old: Filter(_v1("inside_bar"), allowed=(1,)),
    "enableN7Bar": lambda old: Filter(_v1("narrowest_7"), allowed=(1,)),
    "enableBB": _bollinger,
    "enable_bb_high": lambda old: Filter(_v1("bb_high"), above=0.0),
    "enable_bb_high_d": lambda old: Filter(_v1("bb_high_d"), above=0.0),
    "enableDonch": _donchian,
    "enableEMA8": _side(_v1("above_ema8"), "ema8Dir"),
    "enableEMA20": _side(_v1("above_ema20"), "ema20Dir"),
    "enableEMA50": _side(_v1("above_ema50"), "ema50Dir"),
    "enableEMA200": _side(_v1("above_ema200"), "ema200Dir"),
    "enableEMA20D": _side(_v1("above_ema20_daily"), "ema20DDir"),
    "enableEMA50D": _side(_v1("above_ema50_daily"), "ema50DDir"),
    "enableEMA200D": _side(_v1("above_ema200_daily"), "ema200DDir"),
    "enableMASlope": _band(Feature("lag", HOURLY, 1, (_slope(HOURLY),)), "maSlopeLow", "maSlopeHigh", -_MOST, _MOST),
    "enableDailySlope": _band(_slope(DAILY), "dSlopeLow", "dSlopeHigh", -_MOST, _MOST),
    "enableMASpread": _spread,
    "enableDonchProx": _band(_v1("donchian_proximity_to_nearest_band"), "donchProxLow", "donchProxHigh", 0, math.inf),
    "enableBBW": _band(_v1("bollinger_bandwidth_daily"), "bbwLow", "bbwHigh", 0, math.inf),
    "enableSessions": _codes(_v1("session"), "sessionSel", "1"),
    "enableOpenClose": _codes(_v1("open_close"), "openCloseSel", "1"),
    "enableRangeCompressionATR": _beyond(_v1("range_compression_atr"), "rcDir", "rcThresh", "Below", 0.5),
    "enableDailyRangeCompression": _beyond(_v1("daily_range_compression"), "drcDir", "drcThresh", "Below", 0.5),
    "enable4BarRet": _band(_v1("return_4"), "ret4Low", "ret4High", -1, 1),
    "enable4BarRetD": _band(_v1("return_4_daily"), "dRet4Low", "dRet4High", -1, 1),
    "enableAboveOpen": _side(_v1("above_daily_close"), "aboSel"),
    "enableHourlyATRPercentile": _band(_v1("hourly_atr_percentile"), "hAtrPercLow", "hAtrPercHigh", 0, 100),
    "enableDailyATRPercentile": _band(_v1("daily_atr_percentile"), "dAtrPercLow", "dAtrPercHigh", 0, 100),
    "enableDirDrift": _band(_v1("hourly_directional_drift"), "driftLow", "driftHigh", -2, 2),
    "enableDirDriftD": _band(_v1("daily_directional_drift"), "dDriftLow", "dDriftHigh", -2, 2),
    "enableSpiralER": _band(_v1("spiral_efficiency_ratio"), "serLow", "serHigh", 0, 1, "block"),
    "enableTWRC": _compression,
    "enableADX": _band(_v1("adx_value"), "adxLow", "adxHigh", 20, 40),
    "enableDADX": _band(_v1("daily_adx_value"), "dAdxLow", "dAdxHigh", 20, 40),
    "enablePSAR": _psar,
    "use_supply_zone": _zone,
}


def _cross(switch: str, old: Old) -> Filter | None:
    """`enableGCZScoreDay` and its like, with keys such as gcZLowDay."""
    for kind, name, stem, limit in (("ZScore", "z_score", "Z", 2.0), ("Return", "return", "Return", 1.0)):
        for span, timeframe in (("Hour", HOURLY), ("Day", DAILY)):
            suffix = f"{kind}{span}"
            if switch.startswith("enable") and switch.endswith(suffix):
                root = switch.removeprefix("enable").removesuffix(suffix)
                key = root[:1].lower() + root[1:].lower()
                bounds = [
                    float(old.get(f"{key}{stem}{end}{span}", sign * limit))
                    for end, sign in (("Low", -1.0), ("High", 1.0))
                ]
                return Filter(_v1(f"{root}_{timeframe}_{name}"), low=bounds[0], high=bounds[1])
    return None


def _pivot(old: Old) -> dict[str, Filter]:
    setting = str(old.get("entry_setting", "inside range"))
    timeframe = "daily_ahead" if old.get("signal_tf", "Hourly") == "Daily" else HOURLY
    if setting == "hh above":
        return {"pivot": Filter(Feature("pivot_higher_high", timeframe, PIVOT_V1), allowed=(1,))}
    if setting != "inside range":
        return {}
    if timeframe == HOURLY:
        return {"pivot": Filter(Feature("inside_pivots", timeframe, PIVOT_V1), allowed=(1,))}
    close = Feature("close", timeframe)  # of the day in progress, as its pivots
    sides = {"pivot_high": (_v1("daily_pivot_high"), close), "pivot_low": (close, _v1("daily_pivot_low"))}
    return {name: Filter(Feature("difference", HOURLY, 1, of), low=0.0) for name, of in sides.items()}


_STRATEGY_KEYS = {
    "entry_setting",
    "signal_tf",
    "enable_stop",
    "stop_type",
    "stop_perc",
    "stop_atr_mult",
    "enable_tp",
    "tp_type",
    "tp_perc",
    "tp_atr_mult",
    "enable_ibs_entry",
    "ibs_entry_low",
    "ibs_entry_high",
    "enable_ibs_exit",
    "ibs_exit_low",
    "ibs_exit_high",
    "enable_bar_stop",
    "bar_stop_bars",
    "enable_auto_close",
    "auto_close_time",
    "use_window1",
    "start_time1",
    "end_time1",
    "use_window2",
    "start_time2",
    "end_time2",
}
NO_IBS_EXIT = 2.0  # above any IBS


def translate(old: Old) -> Translation:
    """Raises StrategyError for a switch that is not known."""
    filters = _pivot(old)
    for switch in old:
        if not (switch.startswith(("enable", "use_")) and old[switch]) or switch in _STRATEGY_KEYS:
            continue
        found = SWITCHES[switch](old) if switch in SWITCHES else _cross(switch, old)
        if found is None:
            raise StrategyError(f"old parameter {switch}: not a switch of the old system's entry filters")
        filters[switch.lower()] = found
    return Translation(_params(old), filters, _windows(old), _auto_close(old))


def _params(old: Old) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ibs_entry_low": float(old.get("ibs_entry_low", 0.0)),
        "ibs_entry_high": float(old.get("ibs_entry_high", 0.2)),
        "ibs_exit_low": float(old.get("ibs_exit_low", 0.8)),
        "ibs_exit_high": float(old.get("ibs_exit_high", 1.0)),
        "time_stop_bars": max(2, int(old.get("bar_stop_bars", 8))) if old.get("enable_bar_stop", True) else 0,
    }
    if not old.get("enable_ibs_entry", True):
        found |= {"ibs_entry_low": 0.0, "ibs_entry_high": 1.0}
    if not old.get("enable_ibs_exit", True):
        found["ibs_exit_low"] = NO_IBS_EXIT
    for name, switch, prefix, per_cent, atr in (
        ("stop", "enable_stop", "stop", 1.0, 1.0),
        ("target", "enable_tp", "tp", 1.0, 0.5),
    ):
        is_on, by_atr = old.get(switch, True), old.get(f"{prefix}_type", "Percent") == "ATR"
        found[f"{name}_percent"] = float(old.get(f"{prefix}_perc", per_cent)) if is_on and not by_atr else 0.0
        found[f"{name}_atr"] = float(old.get(f"{prefix}_atr_mult", atr)) if is_on and by_atr else 0.0
    return found


def _windows(old: Old) -> tuple[str, ...]:
    windows = []
    for number, begin, end in ((1, "0000", "1500"), (2, "1700", "2400")):
        if old.get(f"use_window{number}", True):
            times = (str(old.get(f"{key}{number}", at)) for key, at in (("start_time", begin), ("end_time", end)))
            windows.append("-".join(_clock(time) for time in times))
    return tuple(windows)


def _auto_close(old: Old) -> str:
    return _clock(str(old.get("auto_close_time", 1500)).zfill(4)) if old.get("enable_auto_close", True) else "off"


def _clock(hhmm: str) -> str:
    return f"{int(hhmm[:2]) % 24:02d}:{hhmm[2:]}"
