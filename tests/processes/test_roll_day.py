"""A roll day from the gateway's socket to the worker's ledger, with a position open: real bars of ES, and made ones."""

import contextlib
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rooney.market import sessions
from rooney.market.instruments import Contract, deadline
from rooney.market.messages import Bar, Roll
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import ContractCount, Published
from rooney.sim.databento.gateway import Gateway
from rooney.sim.databento.sources import Instrument, Recorded, Source, Until
from rooney.sim.databento.wire import PRICE_SCALE, empty_trades
from rooney.sim.market import Market
from tests.support.gateways import running
from tests.support.hub import hub_thread, parents
from tests.support.ledgers import read_only
from tests.support.minutes import bar, minute
from tests.support.paths import RECORDED_DATA, needs_recorded_data
from tests.support.private_redis import PrivateRedis
from tests.support.rigs import Rig
from tests.support.workers import Zygote

SECOND = 1_000_000_000
TICK = 0.25


class Day:
    """What a worker with a position in the old contract makes of the day after `before_ns`."""

    def __init__(
        self,
        redis: PrivateRedis,
        zygote: Zygote,
        tmp_path: Path,
        source: Source,
        *,
        old: Contract,
        new: Contract,
        before_ns: int,
        end_ns: int,
        old_last: float,
        new_last: float,
    ) -> None:
        """The last three minutes of the day before are on the tape: a signal, its fill, and a quiet one."""
        rig = Rig(tmp_path, Path(redis.socket), zygote)
        rig.blocks["a"] |= {
            "mode": "dry",
            "broker_account": None,
            "instruments": ["ES"],
            "strategy_params": {"buy": old_last, "sell": -1.0, "leave": -2.0},
        }
        day = sessions.trade_date(before_ns - 1)
        with contextlib.closing(rig):
            worker = rig.start()
            rig.wait_ready("a")
            for k, close in enumerate((old_last, old_last + TICK, old_last)):
                end = before_ns - (2 - k) * MINUTE_NS
                one = bar("ES", end, close, old_last, contract=old.raw)
                counts = [ContractCount(old, day, 10, close), ContractCount(new, day, 30, new_last)]
                rig.bus.publish(Published(minute(end, one), counts, {"ES": old}))
            rig.wait_position(before_ns)
            gateway = Gateway(source, begin_ns=before_ns, until_ns=end_ns)
            with running(gateway), hub_thread(redis, gateway, parents("ES"), before_ns) as hub:
                hub.wait(end_ns)
                self.tape = [one for _, one in hub.bus.tape(before_ns) if one.ts_close <= end_ns]
                self.rolls = hub.bus.rolls("ES")
            rig.finish(worker, end_ns)
            with read_only(rig.ledger()) as db:
                self.intents = db.execute(
                    "SELECT i.ticker, i.role, i.cause, i.ts_mark, e.state FROM intent i"
                    " JOIN event e ON e.seq = (SELECT max(seq) FROM event WHERE intent = i.id) ORDER BY i.seq"
                ).fetchall()
                self.trades = db.execute("SELECT contract, entry_price, exit_price, cause FROM trade").fetchall()

    def bars(self, timeframe: str = "1min") -> list[Bar]:
        return [bar for one in self.tape for bar in one.bars if bar.timeframe == timeframe]

    def check(self, old: Contract, new: Contract, first_ns: int, old_last: float, new_last: float) -> None:
        """The roll is in the first entry of the session, and the position is closed there in the old contract."""
        (entry,) = [one for one in self.tape if one.rolls]
        assert entry.ts_close == first_ns
        assert entry.rolls == [Roll("ES", old.raw, new.raw, old_last, new_last, first_ns, "volume")]
        assert len(self.rolls) == 1
        assert {bar.contract for bar in self.bars()} <= {new.raw}
        for one in self.bars("hourly") + self.bars("daily"):
            assert one.contract == (old.raw if one.ts_close < first_ns else new.raw)
        marks = [(ticker, role, cause, state) for ticker, role, cause, _, state in self.intents]
        assert marks == [(old.ticker, 1, "rule", "acknowledged"), (old.ticker, 2, "roll", "acknowledged")]
        assert self.intents[1][3] == first_ns
        ((contract, entered, left, cause),) = self.trades
        assert (contract, cause) == (old.raw, "roll")
        assert (entered, left) == (old_last + TICK, old_last - TICK)  # a tick of slippage on either side


@needs_recorded_data
def test_the_real_roll_of_december_2013_closes_the_old_contract_and_goes_on_in_the_new(
    redis: PrivateRedis, zygote: Zygote, tmp_path: Path
) -> None:
    """ES on 2013-12-18, two days before expiry: 2.26 M contracts of ESH4 against 0.28 M of ESZ3.

    By our rule the old one must be left by the 16th, four days before its deadline: the position is Friday's, the roll
    is in Sunday's first entry, two sessions of which nothing is recorded follow, and then Wednesday's bars.
    """
    pl: Any = pytest.importorskip("polars")
    table = pl.read_parquet(RECORDED_DATA / "bars_1m/ES_lean_2013.parquet").filter(
        pl.col("ts_event").dt.date() == date(2013, 12, 18)
    )
    raws = sorted(table["symbol"].unique().to_list())
    opens = table["ts_event"].to_physical().to_numpy()
    prices = np.stack([table[name].to_numpy() for name in ("open", "high", "low", "close")], axis=1)
    trades = empty_trades(4 * len(table))
    trades["ts_recv"] = (opens[:, None] + np.array([1, 15, 30, 45]) * SECOND).ravel()
    trades["ts_event"] = trades["ts_recv"] - 1_000_000
    trades["price"] = np.rint(prices * PRICE_SCALE).ravel()
    trades["size"] = 1
    trades["instrument_id"] = np.repeat([raws.index(raw) + 1 for raw in table["symbol"].to_list()], 4)
    trades = trades[np.argsort(trades["ts_recv"], kind="stable")]
    source = Recorded(trades, [Instrument(i + 1, raw, "ES") for i, raw in enumerate(raws)])
    old, new = Contract("ES", 2013, 12), Contract("ES", 2014, 3)
    before_ns = sessions.session_close_ns("equity", date(2013, 12, 13)) - 120 * MINUTE_NS
    opened_ns = sessions.session_open_ns("equity", date(2013, 12, 16))
    end_ns = int(opens.max()) + MINUTE_NS
    day = Day(
        redis,
        zygote,
        tmp_path,
        source,
        old=old,
        new=new,
        before_ns=before_ns,
        end_ns=end_ns,
        old_last=1700.0,
        new_last=1694.5,
    )
    day.check(old, new, opened_ns + MINUTE_NS, 1700.0, 1694.5)  # prices that the real day does not see again
    expected = table.filter(pl.col("symbol") == "ESH4").sort("ts_event")
    rows = list(zip(*(expected[name].to_list() for name in ("open", "high", "low", "close")), strict=True))
    assert [(bar.open, bar.high, bar.low, bar.close) for bar in day.bars()] == rows
    assert [bar.ts_open for bar in day.bars()] == expected["ts_event"].to_physical().to_list()


def test_a_made_roll_day_closes_the_old_contract_in_the_first_entry_of_the_session(
    redis: PrivateRedis, zygote: Zygote, tmp_path: Path
) -> None:
    tuesday, wednesday = date(2026, 3, 10), date(2026, 3, 11)
    old, new = Contract("ES", 2026, 3), Contract("ES", 2026, 6)
    opened_ns = sessions.session_open_ns("equity", wednesday)
    end_ns = opened_ns + 90 * MINUTE_NS
    source = Until(Market(first=wednesday, roots=["ES"], trades_per_minute=200, rolls={"ES": tuesday}), end_ns)
    before_ns = sessions.session_close_ns("equity", tuesday) - 30 * MINUTE_NS
    day = Day(
        redis,
        zygote,
        tmp_path,
        source,
        old=old,
        new=new,
        before_ns=before_ns,
        end_ns=end_ns,
        old_last=6800.0,
        new_last=6860.0,
    )
    day.check(old, new, opened_ns + MINUTE_NS, 6800.0, 6860.0)
    assert deadline(old) > wednesday
