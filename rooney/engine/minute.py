"""A tape minute as arrays of the step, and the step's records as decisions and trades."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from rooney.engine.settings import EngineInstrument
from rooney.kernels import dtypes
from rooney.kernels.codes import Cause
from rooney.market import sessions
from rooney.market import sessions_v1 as oldclock
from rooney.market.instruments import contract_from_number, parse_contract
from rooney.market.messages import Bar, BarFlag, Roll
from rooney.market.timeframes import TIMEFRAMES
from rooney.orders.decisions import Decided, Trade
from rooney.orders.intents import Role, Side

_EPOCH = date(1970, 1, 1)
_TIMEFRAME = {name: i for i, name in enumerate(TIMEFRAMES)}
HOURLY, DAILY = _TIMEFRAME["hourly"], _TIMEFRAME["daily"]


class MinuteArrays:
    """Market data of one mark, in arrays that every mark uses again.

    mark, sessions, bars, rolls: as the step reads them
    days: SPAN per instrument, the old days in progress (profile v1)
    """

    def __init__(self, instruments: Sequence[EngineInstrument], profile: str) -> None:
        n = len(instruments)
        self.mark = np.zeros(1, dtypes.MARK)
        self.sessions = np.zeros(n, dtypes.SESSION)
        self.bars = np.zeros((dtypes.N_TIMEFRAMES, n), dtypes.BAR)
        self.rolls = np.zeros(n, dtypes.ROLL)
        self.days = np.zeros(n, dtypes.SPAN)
        self._old = profile == "v1"
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._group_of = [instrument.group for instrument in instruments]
        self._groups = sorted(set(self._group_of))
        self._windows: dict[str, sessions.Window | None] = {}

    def load(
        self,
        ts_close: int,
        bars: Sequence[Bar],
        rolls: Sequence[Roll],
        *,
        gap: bool,
        warming: bool,
    ) -> None:
        """Take in what closed at `ts_close`; bars outside sessions and of unknown instruments are left out."""
        day = (sessions.trade_date(ts_close - 1) - _EPOCH).days
        self.mark[0] = (ts_close, day, sessions.utc_offset_ns(ts_close - 1), gap, warming)
        self.bars["valid"] = 0
        on = datetime.fromtimestamp(ts_close // 1_000_000_000, UTC).date()
        for bar in bars:
            i, timeframe = self._index.get(bar.symbol), _TIMEFRAME.get(bar.timeframe)
            contract = parse_contract(bar.contract, on)
            if i is None or timeframe is None or contract is None or bar.flags & BarFlag.OFF_SESSION:
                continue
            self.bars[timeframe, i] = (
                1,
                bar.ts_open,
                bar.ts_close,
                contract.number,
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                bar.volume,
            )
        if self._old:
            self._fold_old_days(ts_close)
        self.rolls["valid"] = 0
        for roll in rolls:
            i = self._index.get(roll.symbol)
            contract = parse_contract(roll.new_contract, on)
            if i is not None and contract is not None:
                self.rolls[i] = (1, contract.number, roll.old_last, roll.new_last)
        if warming:
            return
        for group in self._groups:
            window = self._windows.get(group)
            if window is None or not window.open_ns <= ts_close < window.close_ns:
                self._windows[group] = sessions.window_at(group, ts_close)
        known = sessions.covered(ts_close)  # beyond the table holidays are unknown: no entries
        for i, group in enumerate(self._group_of):
            window = self._windows[group]
            if window is None or not known:
                self.sessions[i] = (0, 0, 0)
            else:
                self.sessions[i] = (1, sessions.session_open_ns(group, window.trade_date), window.ends_ns)

    def _fold_old_days(self, ts_close: int) -> None:
        """Profile v1 has days of its own, folded from hours; those of the tape are another system's."""
        self.bars[DAILY]["valid"] = 0
        for i, group in enumerate(self._group_of):
            span, bar, hour = self.days[i], self.bars[DAILY, i], self.bars[HOURLY, i]
            if span["valid"] and hour["valid"] and hour["ts_open"] >= span["ts_close"]:
                _hand_out(span, bar)
            if hour["valid"]:
                if not span["valid"]:
                    for name in ("open", "high", "low"):
                        span[name] = hour[name]
                    span["valid"], span["volume"] = 1, 0.0
                    span["ts_open"], span["ts_close"] = oldclock.day_at(group, int(hour["ts_open"]))
                span["high"] = max(span["high"], hour["high"])
                span["low"] = min(span["low"], hour["low"])
                span["close"], span["contract"] = hour["close"], hour["contract"]
                span["volume"] += hour["volume"]
            if span["valid"] and span["ts_close"] <= ts_close and not bar["valid"]:
                _hand_out(span, bar)


def _hand_out(span: Any, bar: Any) -> None:
    for name in ("ts_open", "ts_close", "contract", "open", "high", "low", "close", "volume"):
        bar[name] = span[name]
    bar["valid"], span["valid"] = 1, 0


def decided_of(
    symbols: Sequence[str],
    instrument: int,
    role: int,
    side: int,
    quantity: int,
    contract: int,
    cause: int,
    price: float,
    stop_price: float,
) -> Decided:
    """Decision of an INTENT record, given as its fields in their order."""
    symbol = symbols[instrument]
    named = contract_from_number(symbol, contract)
    return Decided(symbol, named, Role(role), Side(side), quantity, Cause(cause), price, stop_price)


def trade_of(symbols: Sequence[str], record: Any) -> Trade:
    """Trade of a TRADE record."""
    symbol = symbols[int(record["instrument"])]
    return Trade(
        symbol,
        contract_from_number(symbol, int(record["contract"])).raw,
        int(record["side"]),
        int(record["quantity"]),
        int(record["entry_ts"]),
        float(record["entry_price"]),
        int(record["exit_ts"]),
        float(record["exit_price"]),
        Cause(int(record["cause"])).name.lower(),
        float(record["pnl_usd"]),
        float(record["costs_usd"]),
        int(record["bars_held"]),
        float(record["score"]),
    )
