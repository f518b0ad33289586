"""What a worker's STATUS line is made of: facts for `systemctl status`, the ones that may cost money first. Pure."""

from collections.abc import Mapping, Sequence

from rooney.orders.decisions import Position

SHOWN = 2  # positions by name; of more the line would lose what comes after them


def holdings(positions: Sequence[Position], point_values: Mapping[str, float]) -> str:
    """`ES +1 @5321.25 open +62.50`, or `flat`. point_values: USD per 1.0 of price by symbol; `open` is an estimate."""
    held = [one for one in positions if one.side]
    if not held:
        return "flat"
    open_usd = sum(
        one.side * one.quantity * (one.last_price - one.entry_price) * point_values[one.symbol] for one in held
    )
    shown = " ".join(f"{one.symbol} {one.side * one.quantity:+d} @{one.entry_price:.10g}" for one in held)
    return f"{shown if len(held) <= SHOWN else f'{len(held)} positions'} open {open_usd:+.2f}"


def orders(unconfirmed: int, is_sending: bool) -> str:
    """`orders ok`, that of an order on its way, or how many may be live and are not known to be."""
    return f"orders {f'{unconfirmed} UNCONFIRMED' if unconfirmed else 'sending' if is_sending else 'ok'}"


def data(states: Mapping[str, str], is_open: bool, age_s: float | None) -> str:
    """`data 12s` after the newest minute's end, `data closed`, `data dead ES NQ`.

    states: symbol → state in which nothing may be entered in it; age_s: None before the first minute
    """
    if states:
        worst = sorted({(state, symbol) for symbol, state in states.items()})
        return "data " + " ".join(dict.fromkeys(word for state, symbol in worst for word in (state, symbol)))
    if not is_open:
        return "data closed"
    return f"data {age_s:.0f}s" if age_s is not None else "data none"
