"""Trades that find a slot, where no more than so many positions may be open."""

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def admitted_usd(
    start: Any, end: Any, who: Any, usd: Any, row: Any, allowed: Any, chosen: Any, max_positions: int, out: Any
) -> int:
    """Add the P&L of the trades that find a slot to `out[row]`; how many there are.

    start, end: int64[trade], deciding mark and exit fill, in order of start; of those of one mark the first come first
    who, row:   int64[trade], instrument and where it is added
    allowed:    bool[trade], left out as if it had not been; chosen: bool[instrument], likewise
    """
    free_at = np.zeros(max_positions, np.int64)
    n = 0
    for i in range(len(start)):
        if not allowed[i] or not chosen[who[i]]:
            continue
        slot = 0
        for k in range(1, max_positions):
            if free_at[k] < free_at[slot]:
                slot = k
        if free_at[slot] <= start[i]:
            free_at[slot] = end[i]
            out[row[i]] += usd[i]
            n += 1
    return n
