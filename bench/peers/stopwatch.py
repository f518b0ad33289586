"""Runs one engine in its own environment and process: `python in_ENGINE.py BARS.npz FOUND.json TRADES.npz`.

Imported by the scripts that know an engine; needs numpy only. What is timed is an engine's own run: from bars that lie
in memory in the form it takes, its strategy and account made, to the record of all its trades. Imports, compilation and
the preparation of data are left out for all alike; an untimed run of a thousand minutes comes first.

Times are processor seconds of all threads of the process, so that other work on the machine does not count against
whoever takes long; the wall's are kept beside them. Peak memory is the process's own, with all it imported.
"""

import json
import resource
import statistics
import sys
import time

import numpy as np

MINUTE_NS = 60_000_000_000
WARM_UP_MINUTES = 1_000
ENOUGH_S = 3.0  # no further run after so long
MOST_RUNS = 51


def main(prepare, version):
    """prepare(bars) → a function that runs once and returns the trades.

    bars:   dict of ts_open int64[minute] and open, high, low, close float64[minute, instrument]
    trades: (instrument, entry ts, entry price, exit ts, exit price) of each closed one, ts of the minute's open
    """
    bars_path, found_path, trades_path = sys.argv[1:]
    with np.load(bars_path) as file:
        bars = {name: file[name] for name in file.files}
    prepare({name: values[:WARM_UP_MINUTES] for name, values in bars.items()})()
    cpu_s, wall_s = [], []
    while not cpu_s or (sum(wall_s) < ENOUGH_S and len(cpu_s) < MOST_RUNS):
        run = prepare(bars)
        wall, cpu = time.perf_counter(), time.process_time()
        found = run()
        cpu_s.append(time.process_time() - cpu)
        wall_s.append(time.perf_counter() - wall)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.savez(trades_path, trades=rows(found))
    with open(found_path, "w") as file:
        json.dump(
            {
                "version": version,
                "bars": bars["close"].size,
                "runs": len(cpu_s),
                "cpu_s": statistics.median(cpu_s),
                "wall_s": statistics.median(wall_s),
                "peak_mib": peak_mib,
            },
            file,
        )


def rows(trades):
    """float64[trade, 5] by instrument and entry; times as minutes since 1970, which float64 holds exactly."""
    found = np.array([(i, a // MINUTE_NS, b, c // MINUTE_NS, d) for i, a, b, c, d in trades], np.float64).reshape(-1, 5)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def pair(fills):
    """Trades from fills (instrument, ts, price) in their order: of each instrument they are entry, exit, entry …"""
    entered, trades = {}, []
    for instrument, ts, price in fills:
        if instrument in entered:
            trades.append((instrument, *entered.pop(instrument), ts, price))
        else:
            entered[instrument] = (ts, price)
    return trades
