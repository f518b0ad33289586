"""/metrics: one look at the system as OpenMetrics text.

Times are stamps, never ages: a query computes the age, and sees a source that has stopped. Counters are either of the
ledger, which never forgets, or begin with this process, which a query's `rate()` understands.
"""

import platform
from collections.abc import Mapping

from rooney import __version__
from rooney.ledger.latency import BOUNDS_S, Buckets
from rooney.monitor.market import freshness
from rooney.monitor.system import Looker, System
from rooney.orders.intents import State
from rooney.systemd import unit_name

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_FINAL = (State.ACKNOWLEDGED, State.REFUSED, State.DROPPED, State.UNCONFIRMED, State.RESOLVED)
_UNITS = ("seconds", "bytes", "usd")
# Name → kind and help text, in the order of the exposition.
_FAMILIES = {
    "build": ("info", "What runs here."),
    "up": ("gauge", "Whether a part gives signs of life."),
    "heartbeat_timestamp_seconds": ("gauge", "When a part last said or finished something."),
    "last_bar_timestamp_seconds": ("gauge", "End of the newest bar of an instrument."),
    "instrument_fresh": ("gauge", "1 while an instrument in session has fresh data, 0 if it has not."),
    "feed_lag_seconds": ("gauge", "From the end of its newest minute to the record that closed it."),
    "tape_timestamp_seconds": ("gauge", "End of the newest minute on the tape."),
    "feed_reconnects": ("counter", "Sessions with the gateway after the hub's first."),
    "feed_gaps": ("counter", "Minutes flagged as a gap, seen since this process began."),
    "hub_events": ("counter", "What the hub counted since it began, by kind."),
    "redis_memory_bytes": ("gauge", "Memory Redis uses."),
    "redis_tape_minutes": ("gauge", "Minutes on the tape."),
    "bar_latency_seconds": ("histogram", "Latency per stage, seen since this process began."),
    "orders": ("counter", "Outcomes of orders, by role."),
    "orders_unconfirmed": ("gauge", "Orders of unknown fate now."),
    "webhook_seconds": ("histogram", "One exchange with the webhook, seen since this process began."),
    "position_contracts": ("gauge", "Contracts held, negative for short, as believed."),
    "pnl_usd": ("gauge", "Estimated P&L since the start: realized after costs, and open."),
    "daily_pnl_usd": ("gauge", "Estimated P&L of the trade date, open positions marked."),
    "daily_loss_limit_usd": ("gauge", "Loss of one trade date at which all is closed."),
    "drawdown_usd": ("gauge", "Estimated equity below its best."),
    "halted": ("gauge", "1 while something holds entries back, by reason."),
    "veto": ("counter", "Entries judged by a model, seen since this process began."),
    "decisions": ("counter", "Decisions by reason, seen since this process began."),
    "restarts": ("counter", "Starts of a unit after the first one this process saw."),
    "unit_cpu_seconds": ("counter", "CPU time of a unit's run."),
    "unit_memory_bytes": ("gauge", "Memory of a unit, page cache included."),
}


class _Family:
    """A metric with its samples."""

    def __init__(self, name: str, kind: str, text: str) -> None:
        self.name = f"rooney_{name}"
        self.kind = kind
        self.text = text
        self.samples: list[str] = []

    def add(self, value: float, suffix: str = "", **labels: str) -> None:
        """Add a sample; labels in the order given."""
        shown = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
        number = f"{int(value)}" if float(value).is_integer() and abs(value) < 1 << 53 else repr(float(value))
        self.samples.append(f"{self.name}{suffix}{{{shown}}} {number}" if shown else f"{self.name}{suffix} {number}")

    def histogram(self, buckets: Buckets, **labels: str) -> None:
        """All samples of one histogram."""
        total = 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), buckets.counts, strict=True):
            total += count
            self.add(total, "_bucket", **labels, le=bound)
        self.add(total, "_count", **labels)
        self.add(buckets.sum_s, "_sum", **labels)

    def lines(self) -> list[str]:
        """As text; nothing without a sample."""
        if not self.samples:
            return []
        unit = next((f"# UNIT {self.name} {unit}" for unit in _UNITS if self.name.endswith(f"_{unit}")), None)
        head = [f"# TYPE {self.name} {self.kind}", *([unit] if unit else []), f"# HELP {self.name} {self.text}"]
        return head + self.samples


_Families = Mapping[str, _Family]


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def render(system: System, looker: Looker) -> str:
    """The whole exposition."""
    families = {name: _Family(name, kind, text) for name, (kind, text) in _FAMILIES.items()}
    _of_process(system, families)
    for part in (_of_market, _of_strategies, _of_units):
        part(system, looker, families)
    return "\n".join([line for family in families.values() for line in family.lines()] + ["# EOF", ""])


def _of_process(system: System, families: _Families) -> None:
    families["build"].add(1, "_info", version=__version__, python=platform.python_version())
    hub, market = system.market.hub, system.market
    families["up"].add(float(not market.away), component="redis", strategy="")
    families["up"].add(float(hub is not None and not market.away), component="hub", strategy="")
    if hub is not None:
        families["heartbeat_timestamp_seconds"].add(hub.ts_ns / 1e9, component="hub", strategy="")
    for one in system.strategies:
        families["up"].add(float(one.is_running), component="worker", strategy=one.name)
        if one.snapshot is not None:
            families["heartbeat_timestamp_seconds"].add(
                one.snapshot.ts_wall / 1e9, component="worker", strategy=one.name
            )


def _of_market(system: System, looker: Looker, families: _Families) -> None:
    market = system.market
    for symbol, quote in market.quotes.items():
        if quote.bar is not None:
            families["last_bar_timestamp_seconds"].add(
                quote.bar.ts_close / 1e9, symbol=symbol, timeframe=quote.bar.timeframe
            )
        if quote.previous is not None:
            families["last_bar_timestamp_seconds"].add(quote.previous.ts_close / 1e9, symbol=symbol, timeframe="daily")
        state, _ = freshness(market, symbol, system.now_ns)
        if state != "closed":
            families["instrument_fresh"].add(float(state in ("fresh", "quiet")), symbol=symbol)
    for symbol, seconds in looker.market.lag_s.items():
        families["feed_lag_seconds"].add(seconds, symbol=symbol)
    if market.ts_tape:
        families["tape_timestamp_seconds"].add(market.ts_tape / 1e9)
    if market.hub is not None:
        families["feed_reconnects"].add(max(0, market.hub.sessions - 1), "_total")
        for kind, count in market.hub.counts.items():
            if kind != "pending":
                families["hub_events"].add(count, "_total", kind=kind)
    families["feed_gaps"].add(market.gaps, "_total")
    if market.info is not None:
        families["redis_memory_bytes"].add(market.info.used_bytes)
        families["redis_tape_minutes"].add(market.info.tape_length)
    families["bar_latency_seconds"].histogram(looker.market.feed, stage="feed")
    families["bar_latency_seconds"].histogram(looker.market.publish, stage="publish")
    for stage in ("decide", "send"):
        families["bar_latency_seconds"].histogram(
            _sum([getattr(view, stage) for view in looker.ledgers.values()]), stage=stage
        )


def _sum(parts: list[Buckets]) -> Buckets:
    total = Buckets()
    for one in parts:
        total.counts = [a + b for a, b in zip(total.counts, one.counts, strict=True)]
        total.sum_s += one.sum_s
    return total


def _of_strategies(system: System, looker: Looker, families: _Families) -> None:
    for one in system.strategies:
        name, snapshot, view = one.name, one.snapshot, looker.ledgers[one.name]
        if one.block is not None:
            families["daily_loss_limit_usd"].add(one.block.daily_stop_loss, strategy=name)
        levels = {switch.level.value for switch in one.switches}
        for level in ("halt", "flatten", "stop"):
            families["halted"].add(float(level in levels), strategy=name, reason=level)
        families["webhook_seconds"].histogram(view.send, strategy=name)
        reasons: dict[str, int] = {}
        for (symbol, reason), count in view.decided.items():
            reasons[reason] = reasons.get(reason, 0) + count
            if reason in ("vetoed", "no_score", "no_model"):
                families["veto"].add(count, "_total", strategy=name, symbol=symbol, verdict=reason)
        for reason, count in reasons.items():
            families["decisions"].add(count, "_total", strategy=name, reason=reason)
        if snapshot is None:
            continue
        for (role, state), count in sorted(snapshot.reached.items()):
            if state in _FINAL:
                families["orders"].add(count, "_total", strategy=name, role=role, outcome=state)
        families["orders_unconfirmed"].add(
            sum(order.state is State.UNCONFIRMED for order in snapshot.orders), strategy=name
        )
        for held in snapshot.held:
            families["position_contracts"].add(held.side * held.quantity, strategy=name, symbol=held.symbol)
        if (account := snapshot.account) is not None:
            families["pnl_usd"].add(sum(trade.pnl_usd for trade in snapshot.trades), strategy=name, kind="realized")
            families["pnl_usd"].add(account.open_usd, strategy=name, kind="open")
            families["daily_pnl_usd"].add(account.day_usd, strategy=name)
            families["drawdown_usd"].add(account.drawdown_usd, strategy=name)
            families["halted"].add(float(account.is_halted), strategy=name, reason="daily_loss")
            families["halted"].add(float(account.is_drawdown_halted), strategy=name, reason="drawdown")


def _of_units(system: System, looker: Looker, families: _Families) -> None:
    strategies = {unit_name(one.name): one.name for one in system.strategies}
    for unit, usage in system.usage.items():
        component = "worker" if unit in strategies else unit.removeprefix("rooney-").removesuffix(".service")
        strategy = strategies.get(unit, "")
        families["restarts"].add(looker.units.restarts.get(unit, 0), "_total", component=component, strategy=strategy)
        families["unit_cpu_seconds"].add(usage.cpu_s, "_total", component=component, strategy=strategy)
        if usage.memory_bytes is not None:
            families["unit_memory_bytes"].add(usage.memory_bytes, component=component, strategy=strategy)
