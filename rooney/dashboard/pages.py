"""Pages and the parts they are made of, each a template over one look at the system. Pure but for snapshot templates.

Parts are what the event stream replaces, so whatever a person types or unfolds lives outside of them or is put back by
the script.
"""

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import msgspec

from rooney.config.loader import Config
from rooney.config.schema import Dashboard
from rooney.dashboard import charts
from rooney.dashboard import comparison as comparing
from rooney.dashboard.charts import Curve
from rooney.dashboard.facts import clock, clock_off_s, disk, settings, versions
from rooney.dashboard.query import Query
from rooney.ledger.records import Decision, TradeRow
from rooney.ledger.snapshot import Snapshot
from rooney.market import sessions
from rooney.market.instruments import PRODUCTS, deadline, group_of, parse_contract
from rooney.market.sessions import CHICAGO, trade_date
from rooney.monitor.conditions import Severity, conditions, state_of, worst
from rooney.monitor.market import Market, freshness
from rooney.monitor.portfolio import PARTICIPATION_LIMIT, capacities, combined
from rooney.monitor.system import Looker, StrategyLook, System
from rooney.orders.lifecycle import Order
from rooney.performance.measures import (
    ANNUAL_DAYS,
    CORRELATION_DAYS,
    Measures,
    Point,
    correlation,
    curve,
    daily,
    measure,
)
from rooney.systemd import unit_name

TRADES_SHOWN, ORDERS_SHOWN = 100, 100


class Tab(msgspec.Struct, frozen=True):
    """A page: where it is, what it is called, and the templates of its parts in order."""

    path: str
    name: str
    parts: tuple[str, ...]
    strategy: str = ""


class Pages:
    """All pages of a configuration."""

    def __init__(self, looker: Looker, config: Config, block: Dashboard) -> None:
        self._looker = looker
        self._config = config
        self._shown = block.strategies
        self.assets: Mapping[str, str] = {}
        self._memory: dict[str, tuple[Snapshot, Any]] = {}
        self._environment = comparing.environment()
        self._environment.globals["tick_of"] = _tick_of

    def tabs(self) -> list[Tab]:
        """In the order of the keys 1, 2, 3 …"""
        own = ("measures", "curve", "positions", "intents", "decisions", "calendar", "trades", "configuration")
        return [
            Tab("/", "Overview", ("strategies", "equity", "correlation")),
            *(Tab(f"/strategy/{name}", name, own, name) for name in self._shown),
            Tab("/market", "Market", ("market",)),
            Tab("/orders", "Orders", ("unknown", "orders")),
            Tab("/system", "System", ("units", "latency", "redis", "hub")),
            Tab("/compare", "Compare", ("together", "correlation", "capacity", "health", "compare")),
        ]

    def tab(self, path: str) -> Tab | None:
        """The page of a path, None if there is none."""
        return next((tab for tab in self.tabs() if tab.path == path), None)

    def parts(self, tab: Tab, query: Query, system: System) -> list[tuple[str, str]]:
        """(id, HTML) of everything on a page that changes."""
        given = self._context(tab, query, system)
        return [
            (name, self._environment.get_template(f"parts/{name}.html").render(given))
            for name in ("head", "alarms", *tab.parts)
        ]

    def page(self, tab: Tab, query: Query, system: System) -> str:
        """The whole page."""
        parts = self.parts(tab, query, system)
        return self._environment.get_template("page.html").render(
            tab=tab,
            tabs=self.tabs(),
            query=query,
            parts=parts,
            assets=self.assets,
            system=system,
            events=query.link("", page=tab.path),
        )

    # ── what templates see ──

    def _context(self, tab: Tab, query: Query, system: System) -> dict[str, Any]:
        found = conditions(system)
        faces = [self._face(one, system) for one in system.strategies if one.name in self._shown or not one.block]

        def stamp(ts_ns: int, form: str = "%m-%d %H:%M") -> Any:
            return charts.stamp(ts_ns, query.zone, form)

        given: dict[str, Any] = {
            "tab": tab,
            "query": query,
            "system": system,
            "market": system.market,
            "conditions": found,
            "severity": worst(found),
            "Severity": Severity,
            "faces": faces,
            "stamp": stamp,
            "charts": charts,
            "nan": math.nan,
            "day_usd": sum(face.measures.day_usd for face in faces if face.measures),
            "clock": clock(system.now_ns, system.groups),
            "modes": sorted({str(face.one.block.mode) for face in faces if face.one.block}),
            "unknown": sum(order.needs_person for face in faces for order in face.orders),
            "positions": sum(len(face.one.snapshot.open) for face in faces if face.one.snapshot),
        }
        more = _PARTS.get(tab.path.split("/")[1])
        return given | more(self, tab, query, system, faces) if more is not None else given

    def _face(self, one: StrategyLook, system: System) -> "Face":
        """A strategy with what follows from its ledger, computed once per state of the ledger."""
        snapshot = one.snapshot
        if snapshot is None:
            return Face(one, *state_of(one, system.market), None, [], {}, ())
        today = trade_date(snapshot.ts_mark - 1) if snapshot.ts_mark else None
        known = self._memory.get(one.name)
        if known is None or known[0] is not snapshot:
            points, days = curve(snapshot), daily(snapshot, today)
            known = (snapshot, (measure(snapshot, points, days), points, days))
            self._memory[one.name] = known
        measures, points, days = known[1]
        return Face(one, *state_of(one, system.market), measures, points, days, snapshot.orders)

    def overview(self, tab: Tab, query: Query, system: System, faces: list["Face"]) -> dict[str, Any]:
        """Curves laid over each other as P&L from zero, and how daily P&L goes together."""
        begin_ns = min((face.points[0].ts for face in faces if face.points), default=0)
        curves = [
            Curve(face.one.name, [(begin_ns, 0.0), *((point.ts, point.equity_usd - start) for point in face.points)])
            for face in faces
            if face.points
            for start in [face.points[0].equity_usd]
        ]
        pairs = [
            (a.one.name, b.one.name, *correlation(a.days, b.days)) for i, a in enumerate(faces) for b in faces[i + 1 :]
        ]
        label = "P&L since the start per strategy, USD, estimated"
        return {
            "plot": charts.plot(curves, label, query.zone),
            "curves": curves,
            "pairs": pairs,
            "need_days": CORRELATION_DAYS,
            "total": _total(faces),
        }

    def comparison(self, tab: Tab, query: Query, system: System, faces: list["Face"]) -> dict[str, Any]:
        """The overview's curves, what all are together, and every comparison that was kept."""
        return self.overview(tab, query, system, faces) | {
            "together": combined(system),
            "capacities": capacities(system),
            "limit": PARTICIPATION_LIMIT,
            "verdicts": [(one, comparing.plots(one, query.zone)) for one in system.verdicts],
            "rows_of": comparing.rows_of,
            "shown": comparing.DIFFERENCES_SHOWN,
        }

    def strategy(self, tab: Tab, query: Query, system: System, faces: list["Face"]) -> dict[str, Any]:
        """Everything of one."""
        face = next((face for face in faces if face.one.name == tab.strategy), None)
        assert face is not None, f"{tab.strategy} is configured, so it has a face"
        one, snapshot = face.one, face.one.snapshot
        trades = [trade for trade in reversed(snapshot.trades) if _matches(trade, query)] if snapshot else []
        begin_ns = _begin_of_day(system.trade_date)
        intents = [order for order in reversed(face.orders) if order.ts_mark >= begin_ns or order.is_open]
        equity = [(point.ts, point.equity_usd) for point in face.points]
        under = [(point.ts, -point.drawdown_usd) for point in face.points]
        ticks = {symbol: tick for symbol, (_, tick) in one.traded.items()}
        return {
            "face": face,
            "snapshot": snapshot,
            "intents": intents,
            "trades": trades[:TRADES_SHOWN],
            "n_trades": len(trades),
            "ticks": ticks,
            "need_days": ANNUAL_DAYS,
            "symbols": sorted({trade.symbol for trade in snapshot.trades}) if snapshot else [],
            "causes": sorted({trade.cause for trade in snapshot.trades}) if snapshot else [],
            "plot": charts.plot([Curve(one.name, equity)], f"equity of {one.name}, USD, estimated", query.zone),
            "under": charts.plot([Curve("drawdown", under)], f"drawdown of {one.name}, USD", query.zone, 110, True),
            "calendar": charts.calendar(face.days),
            "decisions": newest_decisions(snapshot) if snapshot else [],
            "settings": settings(one.block) if one.block else [],
            "send": self._looker.ledgers[one.name].send,
        }

    def market(self, tab: Tab, query: Query, system: System, faces: list["Face"]) -> dict[str, Any]:
        """Every instrument."""
        held: dict[str, int] = {}
        for face in faces:
            for item in face.one.snapshot.open if face.one.snapshot else ():
                held[item.symbol] = held.get(item.symbol, 0) + item.side * item.quantity
        return {
            "rows": [
                _quote(system.market, symbol, system.now_ns, held, self._looker.market.lag_s)
                for symbol in system.symbols
            ]
        }

    def orders(self, tab: Tab, query: Query, system: System, faces: list["Face"]) -> dict[str, Any]:
        """All intents, newest first; those of unknown fate apart."""
        found = [(face.one.name, order) for face in faces for order in face.orders]
        found.sort(key=lambda item: (-item[1].ts_mark, -item[1].seq))
        listed = [
            (name, order)
            for name, order in found
            if query.strategy in ("", name) and query.state in ("", order.state) and query.symbol in ("", order.symbol)
        ]
        return {
            "unclear": [item for item in found if item[1].needs_person],
            "listed": listed[:ORDERS_SHOWN],
            "n_listed": len(listed),
            "states": sorted({str(order.state) for _, order in found}),
            "names": [face.one.name for face in faces],
            "symbols": sorted({order.symbol for _, order in found}),
        }

    def system_(self, tab: Tab, query: Query, system: System, faces: list["Face"]) -> dict[str, Any]:
        """Units, latencies, Redis, hub."""
        names = ["rooney-hub.service", *(unit_name(face.one.name) for face in faces), "rooney-dashboard.service"]
        names += [name for name in system.usage if name not in names]
        market = self._looker.market
        hops = [("feed: end of the minute to hub", market.feed), ("publish: hub to Redis", market.publish)]
        hops += [(f"decide: {face.one.name}", self._looker.ledgers[face.one.name].decide) for face in faces]
        hops += [(f"send: {face.one.name}", self._looker.ledgers[face.one.name].send) for face in faces]
        return {
            "units": [
                (
                    name,
                    system.usage.get(name),
                    self._looker.units.load.get(name, math.nan),
                    self._looker.units.restarts.get(name, 0),
                )
                for name in names
            ],
            "rss": {face.one.name: face.one.snapshot.rss_mb for face in faces if face.one.snapshot},
            "hops": [(name, len(buckets.newest), buckets.quantiles(0.5, 0.95, 0.99, 1.0)) for name, buckets in hops],
            "versions": versions(),
            "disk": disk(self._looker.state),
            "config": self._config.path,
            "clock_off_s": clock_off_s(system),
        }


class Face(msgspec.Struct, frozen=True):
    """A strategy as pages show it. state: a word or three; severity: how grave; measures: None without a ledger."""

    one: StrategyLook
    state: str
    severity: Severity
    measures: Measures | None
    points: list[Point]
    days: dict[date, float]
    orders: tuple[Order, ...]

    @property
    def used(self) -> float:
        """Share of the daily loss limit, 0 and more."""
        limit = self.one.block.daily_stop_loss if self.one.block else math.nan
        return max(0.0, -self.measures.day_usd) / limit if self.measures and limit > 0 else 0.0

    @property
    def last(self) -> Decision | None:
        """The newest decision; of several at one mark the one that acted, or was kept from it."""
        return next(iter(self.one.newest_decisions), None)


_PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "": Pages.overview,
    "strategy": Pages.strategy,
    "market": Pages.market,
    "orders": Pages.orders,
    "system": Pages.system_,
    "compare": Pages.comparison,
}


def _total(faces: list[Face]) -> dict[str, float]:
    known = [face.measures for face in faces if face.measures]
    return {
        "open_usd": sum(one.open_usd for one in known),
        "day_usd": sum(one.day_usd for one in known),
        "total_usd": sum(one.total_usd for one in known),
        "trades": sum(one.trades for one in known),
    }


def _matches(trade: TradeRow, query: Query) -> bool:
    side = {"long": 1, "short": -1}.get(query.side)
    return query.symbol in ("", trade.symbol) and query.reason in ("", trade.cause) and side in (None, trade.side)


def _begin_of_day(day: date) -> int:
    """17:00 Chicago of the day before a trade date began at the earliest."""
    before = sessions.previous_trade_date(day)
    return int(datetime(before.year, before.month, before.day, 17, tzinfo=CHICAGO).timestamp()) * 1_000_000_000


def _tick_of(symbol: str) -> float:
    product = PRODUCTS.get(symbol)
    return product.tick_size if product else 0.0


def newest_decisions(snapshot: Snapshot) -> list[Decision]:
    """The newest of each instrument, in the order of the strategy's."""
    found: dict[str, Decision] = {}
    for item in snapshot.decisions:
        found.setdefault(item.symbol, item)
    return [found[held.symbol] for held in snapshot.held if held.symbol in found]


def _quote(
    market: Market, symbol: str, now_ns: int, held: Mapping[str, int], lag_s: Mapping[str, float]
) -> dict[str, Any]:
    quote = market.quotes[symbol]
    state, why = freshness(market, symbol, now_ns)
    product = PRODUCTS.get(symbol)
    bar, previous = quote.bar, quote.previous
    same = bar is not None and previous is not None and bar.contract == previous.contract
    change = bar.close / previous.close - 1.0 if same and bar and previous and previous.close > 0 else math.nan
    contract = parse_contract(quote.front, trade_date(now_ns)) if quote.front else None
    return {
        "symbol": symbol,
        "name": product.name if product else "",
        "tick": product.tick_size if product else 0.0,
        "state": state,
        "why": why,
        "bar": bar,
        "change": change,
        "front": quote.front,
        "roll": quote.roll,
        "leave": deadline(contract) if contract else None,
        "lag_s": lag_s.get(symbol, math.nan),
        "held": held.get(symbol, 0),
        "spark": charts.spark(quote.closes, f"{symbol}, last {len(quote.closes)} minutes"),
        "next": sessions.next_change(group_of(symbol), now_ns),
    }
