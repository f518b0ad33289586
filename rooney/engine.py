"""The pure core of a worker and of a backtest: one minute in, decisions out. No clock, socket, file or thread.

`Engine` owns the arrays the compiled step works on, translates a tape minute into them and back, and can be frozen to
bytes and restored exactly.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any

import msgspec
import numpy as np

from rooney import sessions
from rooney.errors import ConfigError
from rooney.instruments import Contract, contract_from_number, parse_contract
from rooney.kernels import dtypes
from rooney.kernels.dtypes import Cause, OnUnconfirmed, OutcomeKind, Pending, Reason
from rooney.messages import TIMEFRAMES, Bar, BarFlag, Minute, MinuteFlag, Roll
from rooney.orders import Role, Side
from rooney.strategy import Compiled, explain

_EPOCH = date(1970, 1, 1)
_TIMEFRAME = {name: i for i, name in enumerate(TIMEFRAMES)}


class EngineInstrument(msgspec.Struct, frozen=True):
    """What the step must know of an instrument.

    slippage_ticks: per side; commission_usd: round turn per contract; time_stop_bars: 0 for none
    """

    symbol: str
    group: str
    tick_size: float
    point_value: float
    commission_usd: float
    slippage_ticks: float
    quantity: int
    params: dict[str, Any]
    time_stop_bars: int = 0


class Limits(msgspec.Struct, frozen=True):
    """Rules of the account; USD and seconds."""

    starting_cash: float = 150_000.0
    max_positions: int = 2
    daily_stop_loss: float = 2_500.0
    close_margin_s: float = 120.0
    reentry_wait_s: float = 60.0
    settle_s: float = 60.0
    on_unconfirmed_entry: str = "flatten"


class Outcome(msgspec.Struct, frozen=True):
    """What became of an intent, named by instrument, role and the mark that decided it; or what the operator did.

    ts: when it was so, UTC ns; side, quantity, price: see OutcomeKind.POSITION and CASH
    """

    symbol: str
    role: Role
    ts_mark: int
    kind: OutcomeKind
    ts: int
    side: int = 0
    quantity: int = 0
    price: float = math.nan


class Decided(msgspec.Struct, frozen=True):
    """An intent as the step decided it.

    price: last close, in points; quantity 0 closes whatever is open; stop_price: of an entry, NaN without a stop
    """

    symbol: str
    contract: Contract
    role: Role
    side: Side
    quantity: int
    cause: Cause
    price: float
    stop_price: float = math.nan


class Trade(msgspec.Struct, frozen=True):
    """A closed trade at assumed fills. pnl_usd is net of costs_usd."""

    symbol: str
    contract: str
    side: int
    quantity: int
    entry_ts: int
    entry_price: float
    exit_ts: int
    exit_price: float
    cause: str
    pnl_usd: float
    costs_usd: float
    bars_held: int


class Evaluated(msgspec.Struct, frozen=True):
    """Why an instrument did or did not act at a mark where its strategy decides, or exits; features by name."""

    symbol: str
    reason: Reason
    features: dict[str, float]


class Decisions(msgspec.Struct, frozen=True):
    """Everything one mark decided. Exits come before entries."""

    ts_mark: int
    intents: list[Decided]
    trades: list[Trade]
    evaluated: list[Evaluated]


class Position(msgspec.Struct, frozen=True):
    """An instrument's position as the step believes it."""

    symbol: str
    contract: str
    side: int
    quantity: int
    entry_price: float
    last_price: float
    pending: Pending


class Book(msgspec.Struct, frozen=True):
    """Account and positions as bytes, with the names to read them by when code or configuration has changed.

    layout: JSON: symbols in order, and the fields of both records
    """

    layout: str
    data: bytes


class Engine:
    """One strategy over its instruments, in configured order.

    `digest` names rules, kernels and settings: a frozen state only fits an engine with the same one.
    """

    def __init__(self, compiled: Compiled, instruments: Sequence[EngineInstrument], limits: Limits) -> None:
        self.compiled = compiled
        self.instruments = list(instruments)
        self.limits = limits
        configured = msgspec.json.encode((self.instruments, limits))
        self.digest = hashlib.sha256(compiled.digest.encode() + configured).hexdigest()
        n = len(self.instruments)
        self._index = {instrument.symbol: i for i, instrument in enumerate(self.instruments)}
        self._groups = sorted({instrument.group for instrument in self.instruments})
        self._timeframe = _TIMEFRAME[compiled.strategy.timeframe]
        self._limits = np.zeros(1, dtypes.LIMITS)
        self._limits[0] = (
            self._timeframe,
            limits.max_positions,
            limits.daily_stop_loss,
            int(limits.close_margin_s * 1e9),
            int(limits.reentry_wait_s * 1e9),
            int(limits.settle_s * 1e9),
            OnUnconfirmed[limits.on_unconfirmed_entry.upper()],
        )
        self._instruments = np.zeros(n, dtypes.INSTRUMENT)
        self._params = np.zeros(n, compiled.params_dtype)
        for i, instrument in enumerate(self.instruments):
            self._instruments[i] = (
                instrument.tick_size,
                instrument.point_value,
                instrument.commission_usd,
                instrument.slippage_ticks * instrument.tick_size,
                instrument.quantity,
                instrument.time_stop_bars,
            )
            self._params[i] = compiled.params_record(instrument.params)[0]
        # State: all there is to freeze.
        self._account = np.zeros(1, dtypes.ACCOUNT)
        self._positions = np.zeros(n, dtypes.POSITION)
        self._slots = np.zeros((n, compiled.n_slots))
        self._values = np.zeros(n, compiled.values_dtype)
        self._account["cash"] = self._account["equity"] = self._account["day_start_equity"] = limits.starting_cash
        for name in ("fill_price", "last_price", "left_price"):
            self._positions[name] = math.nan
        for name in compiled.values_dtype.names or ():
            self._values[name] = math.nan
        self._numbers = self._values.view(np.float64).reshape(n, -1)
        records = (("account", dtypes.ACCOUNT), ("position", dtypes.POSITION))
        fields = {name: [(field, dtype[field].str) for field in dtype.names or ()] for name, dtype in records}
        self._layout = msgspec.json.encode({"symbols": list(self._index), **fields}).decode()
        # Input and output of one mark, reused.
        self._mark = np.zeros(1, dtypes.MARK)
        self._sessions = np.zeros(n, dtypes.SESSION)
        self._bars = np.zeros((dtypes.N_TIMEFRAMES, n), dtypes.BAR)
        self._rolls = np.zeros(n, dtypes.ROLL)
        self._outcomes = np.zeros(4 * n + 4, dtypes.OUTCOME)
        self._intents = np.zeros(2 * n, dtypes.INTENT)
        self._trades = np.zeros(6 * n + 4, dtypes.TRADE)  # as many as outcomes can close, and more
        self._reasons = np.zeros(n, np.int64)
        self._out = np.zeros(1, dtypes.OUT)
        # The step's arguments in its order, around the number of outcomes and the intents.
        self._given = (
            self._limits,
            self._instruments,
            self._params,
            self._account,
            self._positions,
            self._slots,
            self._values,
            self._mark,
            self._sessions,
            self._bars,
            self._rolls,
            self._outcomes,
        )
        self._found = (self._trades, self._reasons, self._out)
        self._windows: dict[str, sessions.Window | None] = {}
        self._session_of = [(i, instrument.group) for i, instrument in enumerate(self.instruments)]

    def compile(self) -> None:
        """Make the first call now, afterwards nothing compiles. Raises StrategyError for a rule that cannot be."""
        frozen = self.freeze()
        try:
            self._step(0)
        except Exception as error:  # numba raises what it likes for a rule it cannot compile
            raise explain(self.compiled, error, self._values[0], self._params[0], self._positions[0]) from error
        self.restore(frozen)

    def on_minute(self, minute: Minute, outcomes: Sequence[Outcome] = ()) -> Decisions:
        """Advance by one tape minute. `outcomes` became known before it."""
        self._load(minute.ts_close, minute.bars, minute.rolls, bool(minute.quality & MinuteFlag.GAP), warming=False)
        for k, outcome in enumerate(outcomes):
            self._outcomes[k] = (
                self._index[outcome.symbol], outcome.role, outcome.ts_mark, outcome.kind, outcome.ts,
                outcome.side, outcome.quantity, outcome.price,
            )  # fmt: skip
        self._step(len(outcomes))
        return self._read(minute.ts_close)

    def warm_up(self, bars: Iterable[Bar], rolls: Iterable[Roll] = ()) -> None:
        """Fold closed history into the features; nothing is decided. Bars and rolls in any order."""
        events: list[tuple[int, int, Bar | Roll]] = [(roll.ts, -1, roll) for roll in rolls]
        events += [(bar.ts_close, _TIMEFRAME[bar.timeframe], bar) for bar in bars]
        events.sort(key=lambda event: event[:2])
        for ts_close, group in groupby(events, key=lambda event: event[0]):
            items = [item for _, _, item in group]
            found_bars = [item for item in items if isinstance(item, Bar)]
            found_rolls = [item for item in items if isinstance(item, Roll)]
            self._load(ts_close, found_bars, found_rolls, gap=False, warming=True)
            self._step(0)

    def freeze(self) -> bytes:
        """The whole state as bytes; equal states give equal bytes."""
        return b"".join(array.tobytes() for array in self._state())

    def restore(self, frozen: bytes) -> None:
        """Become exactly the state that was frozen. Raises ValueError if the layout differs."""
        expected = sum(array.nbytes for array in self._state())
        if len(frozen) != expected:
            raise ValueError(f"a frozen state of {len(frozen)} bytes does not fit this strategy ({expected} bytes)")
        at = 0
        for array in self._state():
            array[...] = np.frombuffer(frozen, array.dtype, array.size, at).reshape(array.shape)
            at += array.nbytes

    def book(self) -> Book:
        """Account and positions."""
        return Book(self._layout, self._account.tobytes() + self._positions.tobytes())

    def keep(self, book: Book) -> None:
        """Take over a book, by symbol and by field, whatever wrote it.

        Raises ConfigError if it has a position in an instrument that is no longer traded.
        """
        layout = msgspec.json.decode(book.layout)
        kinds = {name: np.dtype([(field, kind) for field, kind in layout[name]]) for name in ("account", "position")}
        account = np.frombuffer(book.data, kinds["account"], 1)
        positions = np.frombuffer(book.data, kinds["position"], len(layout["symbols"]), account.nbytes)
        _take_over(self._account[0], account[0])
        for symbol, position in zip(layout["symbols"], positions, strict=True):
            if symbol in self._index:
                _take_over(self._positions[self._index[symbol]], position)
            elif position["side"] or position["pending"]:
                raise ConfigError(
                    f"{symbol} is no longer among the instruments, and there is a position or an order of it: "
                    "close it first, or put it back; not starting"
                )

    def positions(self) -> list[Position]:
        """Instruments that hold or wait for something."""
        found = []
        for instrument, pos in zip(self.instruments, self._positions, strict=True):
            if pos["side"] or pos["pending"]:
                number = int(pos["contract"] if pos["side"] else pos["pending_contract"])
                found.append(
                    Position(
                        instrument.symbol,
                        contract_from_number(instrument.symbol, number).raw,
                        int(pos["side"]),
                        int(pos["quantity"]),
                        float(pos["entry_price"]),
                        float(pos["last_price"]),
                        Pending(int(pos["pending"])),
                    )
                )
        return found

    def marks(self) -> int:
        """Marks stepped since the very first, warm-up included."""
        return int(self._account[0]["marks"])

    def equity(self) -> tuple[float, float, bool]:
        """(equity, day's P&L, whether the daily loss limit is latched); USD, open positions marked."""
        account = self._account[0]
        equity = float(account["equity"])
        return equity, equity - float(account["day_start_equity"]), bool(account["halted"])

    def warm(self) -> int:
        """How many instruments have a value for every feature."""
        return int((~np.isnan(self._numbers)).all(axis=1).sum())

    def _state(self) -> tuple[Any, ...]:
        return self._account, self._positions, self._slots, self._values

    def _load(self, ts_close: int, bars: Sequence[Bar], rolls: Sequence[Roll], gap: bool, warming: bool) -> None:
        day = (sessions.trade_date(ts_close - 1) - _EPOCH).days
        self._mark[0] = (ts_close, day, gap, warming)
        self._bars["valid"] = 0
        on = datetime.fromtimestamp(ts_close // 1_000_000_000, UTC).date()
        for bar in bars:
            i, timeframe = self._index.get(bar.symbol), _TIMEFRAME.get(bar.timeframe)
            contract = parse_contract(bar.contract, on)
            if i is None or timeframe is None or contract is None or bar.flags & BarFlag.OFF_SESSION:
                continue
            self._bars[timeframe, i] = (
                1, bar.ts_open, contract.number, bar.open, bar.high, bar.low, bar.close, bar.volume,
            )  # fmt: skip
        self._rolls["valid"] = 0
        for roll in rolls:
            i = self._index.get(roll.symbol)
            contract = parse_contract(roll.new_contract, on)
            if i is not None and contract is not None:
                self._rolls[i] = (1, contract.number, roll.old_last, roll.new_last)
        if warming:
            return
        for group in self._groups:
            window = self._windows.get(group)
            if window is None or not window.open_ns <= ts_close < window.close_ns:
                self._windows[group] = sessions.window_at(group, ts_close)
        known = sessions.covered(ts_close)  # beyond the table holidays are unknown: no entries
        for i, group in self._session_of:
            window = self._windows[group]
            if window is None or not known:
                self._sessions[i] = (0, 0)
            else:
                self._sessions[i] = (1, sessions.session_close_ns(group, window.trade_date))

    def arrays(self) -> tuple[Any, ...]:
        """The arrays a scan over history works on, in its order; its state is this engine's."""
        words = self._intents.view(np.int64).reshape(len(self._intents), -1)
        return *self._given, self._intents, words, *self._found

    def _step(self, n_outcomes: int) -> None:
        self.compiled.module.step(*self._given, n_outcomes, self._intents, *self._found)

    def _read(self, ts_mark: int) -> Decisions:
        out = self._out[0]
        intents = [self._decided(record) for record in self._intents[: int(out["n_intents"])]]
        trades = [self._trade(record) for record in self._trades[: int(out["n_trades"])]]
        decided_at = self._bars["valid"][self._timeframe]
        evaluated = []
        names = self.compiled.values_dtype.names or ()
        for i in np.flatnonzero((self._reasons > 0) | (decided_at > 0)).tolist():
            features = dict(zip(names, self._numbers[i].tolist(), strict=True))
            evaluated.append(Evaluated(self.instruments[i].symbol, Reason(int(self._reasons[i])), features))
        return Decisions(ts_mark, intents, trades, evaluated)

    def _decided(self, record: Any) -> Decided:
        symbol = self.instruments[int(record["instrument"])].symbol
        return Decided(
            symbol,
            contract_from_number(symbol, int(record["contract"])),
            Role(int(record["role"])),
            Side(int(record["side"])),
            int(record["quantity"]),
            Cause(int(record["cause"])),
            float(record["price"]),
            float(record["stop_price"]),
        )

    def _trade(self, record: Any) -> Trade:
        symbol = self.instruments[int(record["instrument"])].symbol
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
        )


def _take_over(record: Any, other: Any) -> None:
    for name in set(record.dtype.names) & set(other.dtype.names):
        record[name] = other[name]
