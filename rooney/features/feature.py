"""Features as a strategy names them."""

import msgspec

# Instruments compared with each other. Without a pair: 6C 6J 6M 6N 6S PL TLT and the grains.
PAIRS = {
    "ES": "NQ",
    "NQ": "ES",
    "RTY": "YM",
    "YM": "RTY",
    "GC": "SI",
    "SI": "GC",
    "HG": "SI",
    "CL": "NG",
    "NG": "CL",
    "6A": "6E",
    "6B": "6E",
    "6E": "6A",
}


class Feature(msgspec.Struct, frozen=True):
    """A number a strategy reads: a kernel on one timeframe, over bars or over other features.

    timeframe: whose closed bars move it on; it reads the newest value of each input at that moment, those of its own
               timeframe included. "daily_ahead" is for research into the old system only: daily bars that are complete
               when they begin
    length:    what the kernel takes as n (`KERNELS`); a name is that of a strategy's parameter
    of:        inputs of a kernel over other features, one or two, on any timeframe
    symbol:    "" for the instrument itself, "pair" for its pair (`PAIRS`), or a root: the value is worked out on that
               instrument, and so are its inputs with symbol ""
    """

    kernel: str
    timeframe: str = "hourly"
    length: int | float | str | tuple[int | float | str, ...] = 1
    of: tuple["Feature", ...] = ()
    symbol: str = ""


def is_research_only(feature: Feature) -> bool:
    """True if it, or what it is made of, reads the future."""
    return feature.timeframe == "daily_ahead" or any(map(is_research_only, feature.of))
