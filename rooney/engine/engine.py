"""The pure core of a worker and of a backtest: one minute in, decisions out. No clock, socket, file or thread.

`Engine` owns the arrays the compiled step works on and can be frozen to bytes and restored exactly; a tape minute is
translated into them by `rooney.engine.minute`.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rooney.engine.minute import DAILY, HOURLY, MinuteArrays, decided_of, trade_of
from rooney.engine.settings import (
    STOP_ATR,
    EngineInstrument,
    Limits,
    filters_array,
    instruments_array,
    limits_array,
    links_array,
)
from rooney.engine.veto import Veto, veto_arrays
from rooney.errors import ConfigError, StepError, StrategyError
from rooney.features.codegen import length_field
from rooney.kernels import dtypes, entries
from rooney.kernels.codes import Pending, Reason, VetoKind
from rooney.market.instruments import contract_from_number
from rooney.market.messages import Bar, Minute, MinuteFlag, Roll
from rooney.market.timeframes import TIMEFRAMES
from rooney.models.forest import Model
from rooney.orders.decisions import Book, Decisions, Evaluated, Outcome, Position
from rooney.strategy.compiler import Compiled, explain
from rooney.strategy.filters import Filter

MIN_HISTORY_BARS = 300  # of a timeframe that a fresh start loads


class Engine:
    """A strategy over its instruments, in configured order.

    `digest` names rules, kernels and settings: a frozen state only fits an engine with the same one.
    """

    def __init__(
        self,
        compiled: Compiled,
        instruments: Sequence[EngineInstrument],
        limits: Limits,
        filters: Mapping[str, Filter] | None = None,
        vetoes: Mapping[str, Veto] | None = None,
    ) -> None:
        self.compiled = compiled
        self.instruments = list(instruments)
        self.limits = limits
        self.filters = dict(filters or {})
        judged = {symbol: veto.digest() if isinstance(veto, Model) else veto for symbol, veto in (vetoes or {}).items()}
        configured = msgspec.msgpack.encode((self.instruments, limits, self.filters, judged))
        steps = [compiled.digests.compiled, *compiled.digests.earlier()]
        self.digest, *self._earlier = [hashlib.sha256(step.encode() + configured).hexdigest() for step in steps]
        n = len(self.instruments)
        self._index = {instrument.symbol: i for i, instrument in enumerate(self.instruments)}
        self._timeframe = TIMEFRAMES.index(compiled.strategy.timeframe)
        self._old = limits.profile == "v1"
        columns = {field: k for k, field in enumerate(compiled.values_dtype.names or ())}
        strategy = compiled.strategy
        self._limits = limits_array(limits, strategy.timeframe, strategy.stop_timeframe, columns.get(STOP_ATR, -1))
        self._instruments = instruments_array(self.instruments)
        self._params = np.zeros(n, compiled.params_dtype)
        for i, instrument in enumerate(self.instruments):
            self._params[i] = compiled.params_record(instrument.params)[0]
        self._links = links_array(self.instruments, compiled.layout.symbols)
        self._filters = filters_array(self.filters, n, columns)
        self._vetoes, self._veto_inputs, self._nodes = veto_arrays(vetoes or {}, self._index, columns)
        self._entry_windows = np.array(limits.entry_windows, np.int64).reshape(-1, 2)
        self._no_entry = np.array(limits.no_entry_windows, np.int64).reshape(-1, 2)
        # State: all there is to freeze.
        self._account = np.zeros(1, dtypes.ACCOUNT)
        self._positions = np.zeros(n, dtypes.POSITION)
        self._slots = np.zeros((n, compiled.layout.n_slots))
        self._values = np.zeros(n, compiled.values_dtype)
        for name in ("cash", "equity", "best_equity", "day_start_equity"):
            self._account[name] = limits.starting_cash
        for name in ("fill_price", "last_price", "left_price", "stop_price", "target_price", "score"):
            self._positions[name] = math.nan
        for name in compiled.values_dtype.names or ():
            self._values[name] = math.nan
        for name in compiled.layout.lengths:
            self._values[length_field(name)] = self.instruments[0].params[name]
        self._held = np.zeros((dtypes.N_TIMEFRAMES, n), dtypes.BAR)
        self._numbers = self._values.view(np.float64).reshape(n, -1)
        records = (("account", dtypes.ACCOUNT), ("position", dtypes.POSITION))
        fields = {name: [(field, dtype[field].str) for field in dtype.names or ()] for name, dtype in records}
        self._layout = msgspec.json.encode({"symbols": list(self._index), **fields}).decode()
        # Input and output of one mark, reused.
        self._minute = MinuteArrays(self.instruments, limits.profile)
        self._outcomes = np.zeros(4 * n + 4, dtypes.OUTCOME)
        self._intents = np.zeros(2 * n, dtypes.INTENT)
        self._trades = np.zeros(6 * n + 4, dtypes.TRADE)  # as many as outcomes can close, and more
        self._reasons = np.zeros(n, np.int64)
        self._scores = np.zeros(n)
        self._out = np.zeros(1, dtypes.OUT)
        # The step's arguments in its order, around the number of outcomes and the intents.
        self._given = (
            self._limits,
            self._instruments,
            self._params,
            self._links,
            self._filters,
            self._vetoes,
            self._veto_inputs,
            self._nodes,
            self._entry_windows,
            self._no_entry,
            self._account,
            self._positions,
            self._slots,
            self._values,
            self._numbers,
            self._held,
            self._minute.mark,
            self._minute.sessions,
            self._minute.bars,
            self._minute.rolls,
            self._outcomes,
        )
        self._found = (self._trades, self._reasons, self._scores, self._out)

    def compile(self) -> None:
        """Make the first call now, afterwards nothing compiles. Raises StrategyError for a rule that cannot be."""
        frozen = self.freeze()
        try:
            self._step(0)
        except Exception as error:  # numba raises what it likes for a rule it cannot compile
            raise self.explain(error) from error
        self.restore(frozen)

    def explain(self, error: Exception) -> StrategyError:
        """Error that says what a researcher should change, where the first call of its step, or of the scan, failed."""
        return explain(self.compiled, error, self._values[0], self._params[0], self._positions[0])

    def on_minute(self, minute: Minute, outcomes: Sequence[Outcome] = ()) -> Decisions:
        """Advance by one tape minute. `outcomes` became known before it; StepError for those it has no room for."""
        gap = bool(minute.quality & MinuteFlag.GAP)
        self._minute.load(minute.ts_close, minute.bars, minute.rolls, gap=gap, warming=False)
        try:
            for k, outcome in enumerate(outcomes):
                self._outcomes[k] = (
                    self._index[outcome.symbol],
                    outcome.role,
                    outcome.ts_mark,
                    outcome.kind,
                    outcome.ts,
                    outcome.side,
                    outcome.quantity,
                    outcome.price,
                )
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise StepError(f"outcome {k} of {len(outcomes)} cannot be stepped: {outcome}: {error}") from error
        self._step(len(outcomes))
        return self.read(minute.ts_close)

    def warm_up(self, bars: Iterable[Bar], rolls: Iterable[Roll] = ()) -> None:
        """Fold closed history into the features; nothing is decided. Bars and rolls in any order."""
        events: list[tuple[int, int, Bar | Roll]] = [(roll.ts, -1, roll) for roll in rolls]
        events += [(bar.ts_close, TIMEFRAMES.index(bar.timeframe), bar) for bar in bars]
        events.sort(key=lambda event: event[:2])
        marks = self.marks()
        for ts_close, group in groupby(events, key=lambda event: event[0]):
            items = [item for _, _, item in group]
            found_bars = [item for item in items if isinstance(item, Bar)]
            found_rolls = [item for item in items if isinstance(item, Roll)]
            self._minute.load(ts_close, found_bars, found_rolls, gap=False, warming=True)
            self._step(0)
        self._account["marks"] = marks  # of the tape alone: a replay counts back from the last one to the first

    def values(self, symbol: str) -> NDArray[np.float64]:
        """A copy of all values of an instrument, by `compiled.layout.fields`."""
        return np.array(self._numbers[self._index[symbol]])

    def score(self, symbol: str, values: NDArray[np.float64]) -> float:
        """Score of an instrument's veto on `values` (by `compiled.layout.fields`); NaN without one, or not enough."""
        veto = self._vetoes[self._index[symbol]]
        has_one = int(veto["kind"]) in (VetoKind.LOGISTIC, VetoKind.FOREST)
        return float(entries.score(veto, self._veto_inputs, self._nodes, values)) if has_one else math.nan

    def history_bars(self, timeframe: int) -> int:
        """Bars of a timeframe that something reads, 0 for none: what the features and the strategy itself ask for."""
        need = self.compiled.layout.warm_up_bars(timeframe)
        if timeframe == self._timeframe:
            need = max(need, self.limits.warm_up_bars)
        if self._old and timeframe == HOURLY:
            need = max(need, 24 * self.compiled.layout.warm_up_bars(DAILY))
        return need

    def warm_up_bars(self, timeframe: int) -> int:
        """Bars of a timeframe that a fresh start loads, live and in research: recursions forget slowly. 0 for none."""
        need = self.history_bars(timeframe)
        return max(MIN_HISTORY_BARS, 10 * need) if need else 0

    def has_digest(self, digest: str) -> bool:
        """True if that is its digest, or was before digests were made of syntax."""
        return digest == self.digest or digest in self._earlier

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
        """Minutes stepped since the very first; history folded to warm up is not among them."""
        return int(self._account[0]["marks"])

    def equity(self) -> tuple[float, float, bool]:
        """(equity, day's P&L, whether the daily loss limit is latched); USD, open positions marked."""
        account = self._account[0]
        equity = float(account["equity"])
        return equity, equity - float(account["day_start_equity"]), bool(account["halted"])

    def drawdown(self) -> tuple[float, bool]:
        """(USD below the best equity, whether the drawdown limit is latched)."""
        account = self._account[0]
        return float(account["best_equity"] - account["equity"]), bool(account["drawdown_halted"])

    def warm(self) -> int:
        """Number of traded instruments that have a value for every feature the strategy declares."""
        own = self._numbers[:, : len(self.compiled.strategy.features)]
        return int(((~np.isnan(own)).all(axis=1) & (self._instruments["traded"] > 0)).sum())

    def _state(self) -> tuple[Any, ...]:
        return self._account, self._positions, self._minute.days, self._held, self._slots, self._values

    def days_in_progress(self) -> NDArray[np.void]:
        """SPAN per instrument for a scan to fold days in: this engine's own where it folds them live, profile v1."""
        return self._minute.days if self._old else np.zeros_like(self._minute.days)

    def arrays(self) -> tuple[Any, ...]:
        """The arrays a scan over history works on, in its order; its state is this engine's."""
        words = self._intents.view(np.int64).reshape(len(self._intents), -1)
        return *self._given, self._intents, words, *self._found

    def arguments(self, n_outcomes: int = 0) -> tuple[Any, ...]:
        """Arguments of the step, in its order: of these types it is compiled ahead of time."""
        return *self._given, n_outcomes, self._intents, *self._found

    def _step(self, n_outcomes: int) -> None:
        self.compiled.module.step(*self.arguments(n_outcomes))

    def read(self, ts_mark: int) -> Decisions:
        """Decisions of the mark just stepped, here or by a scan on these arrays."""
        out = self._out[0]
        symbols = list(self._index)
        # One conversion for all of them: a field of a record costs as much as a whole row of plain numbers.
        intents = [decided_of(symbols, *fields) for fields in self._intents[: int(out["n_intents"])].tolist()]
        trades = [trade_of(symbols, record) for record in self._trades[: int(out["n_trades"])]]
        decided_at = self._minute.bars["valid"][self._timeframe]
        evaluated = []
        names = list(self.compiled.layout.names)
        asked = np.flatnonzero(((self._reasons > 0) | (decided_at > 0)) & (self._instruments["traded"] > 0))
        rows = (asked, self._reasons[asked], self._scores[asked], self._numbers[asked, : len(names)])
        for i, reason, score, numbers in zip(*(array.tolist() for array in rows), strict=True):
            features = dict(zip(names, numbers, strict=True))
            evaluated.append(Evaluated(self.instruments[i].symbol, Reason(reason), features, score))
        return Decisions(ts_mark, intents, trades, evaluated)


def _take_over(record: Any, other: Any) -> None:
    for name in set(record.dtype.names) & set(other.dtype.names):
        record[name] = other[name]
