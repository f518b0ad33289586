"""Characters of the roots: how each trades in the synthetic market."""

from datetime import date

import msgspec
import numpy as np
import numpy.typing as npt

from rooney.market.sessions import (
    MINUTE_NS,
)

FIRST_SESSION = date(2026, 3, 11)  # a Wednesday on which no root's volume moves to another contract


class Character(msgspec.Struct, frozen=True):
    """How one root trades.

    level:  price of the front contract on the open of FIRST_SESSION
    sigma:  standard deviation of a session's return
    share:  part of all trades; the roots' shares add up to 1
    carry:  price difference per year of expiry, as a fraction of the level
    size:   mean contracts per trade
    """

    level: float
    sigma: float
    share: float
    carry: float
    size: float


CHARACTERS = {
    "ES": Character(6800.0, 0.010, 0.220, 0.038, 3.0),
    "NQ": Character(25000.0, 0.013, 0.200, 0.038, 1.8),
    "RTY": Character(2400.0, 0.014, 0.060, 0.036, 1.8),
    "YM": Character(47000.0, 0.009, 0.050, 0.036, 1.5),
    "CL": Character(60.0, 0.022, 0.100, -0.040, 2.0),
    "NG": Character(4.4, 0.038, 0.060, 0.060, 1.8),
    "6A": Character(0.65, 0.006, 0.022, 0.002, 2.5),
    "6B": Character(1.31, 0.005, 0.022, 0.001, 2.2),
    "6C": Character(0.71, 0.004, 0.020, 0.015, 2.5),
    "6M": Character(0.0545, 0.007, 0.011, -0.045, 3.0),
    "6N": Character(0.565, 0.006, 0.009, 0.012, 2.0),
    "6S": Character(1.24, 0.005, 0.011, 0.036, 1.8),
    "HG": Character(5.0, 0.015, 0.040, 0.020, 1.5),
    "SI": Character(50.0, 0.022, 0.045, 0.040, 1.4),
    "GC": Character(4000.0, 0.011, 0.090, 0.042, 1.6),
    "ZC": Character(430.0, 0.014, 0.015, 0.060, 5.0),
    "ZS": Character(1120.0, 0.012, 0.017, 0.030, 3.0),
    "ZW": Character(530.0, 0.017, 0.008, 0.060, 2.5),
}


# Trading activity over a session: (hours since its open, relative rate), straight lines between. Quiet nights, a
# European morning, and a U from the open to the close of the pit's old hours.
_ACTIVITY: dict[str, tuple[tuple[float, float], ...]] = {
    "equity": (
        (0, 0.5),
        (0.5, 0.2),
        (8, 0.2),
        (9, 0.5),
        (15.4, 0.6),
        (15.5, 3.6),
        (16.5, 2.0),
        (19, 1.1),
        (21.5, 2.0),
        (21.95, 3.4),
        (22, 2.6),
        (22.1, 0.5),
        (23, 0.3),
    ),
    "energy": (
        (0, 0.4),
        (1, 0.2),
        (9, 0.5),
        (14.9, 0.9),
        (15, 2.8),
        (16.5, 2.4),
        (18.5, 1.5),
        (20.4, 3.2),
        (20.6, 0.9),
        (23, 0.2),
    ),
    "metals": (
        (0, 0.5),
        (3, 0.5),
        (9, 0.7),
        (15, 1.2),
        (15.3, 3.0),
        (17, 2.0),
        (19.4, 1.4),
        (19.5, 2.0),
        (20, 0.7),
        (23, 0.3),
    ),
    "fx": (
        (0, 0.3),
        (3, 0.4),
        (8.9, 0.6),
        (9, 1.8),
        (12, 1.1),
        (15.4, 1.6),
        (15.5, 2.8),
        (18, 1.6),
        (20, 0.7),
        (23, 0.3),
    ),
    "grains": (
        (0, 0.8),
        (0.5, 0.25),
        (12.7, 0.3),
        (12.75, 0.0),
        (13.5, 0.0),
        (13.51, 3.4),
        (14.5, 1.8),
        (17, 1.1),
        (18.2, 3.0),
        (18.34, 3.0),
    ),
}


def activity(group: str, minutes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Relative trading rate of each minute; its mean over a session is 1."""
    hours, rates = np.array(_ACTIVITY[group]).T
    rate = np.interp((minutes - minutes[0]) / (60 * MINUTE_NS), hours, rates)
    relative: npt.NDArray[np.float64] = rate / rate.mean()
    return relative
