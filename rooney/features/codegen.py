"""Layout of a strategy's features, and the text that computes them.

Features are trees: a series feature has others as inputs, and any may be read from another instrument. A layout gives
every distinct node of them a field in the values and a stretch of the state, once however often it is used, and writes
the functions the step asks for: `fold` for what an instrument computes from its own bars of one timeframe, `link` for
what reads other instruments or mixes timeframes and so comes after all bars of a mark, `shift` for rolls.
"""

import difflib
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec
import numpy as np

from rooney.errors import StrategyError
from rooney.features.feature import Feature
from rooney.features.kernel import Kernel, place_of
from rooney.features.kernel_registry import KERNELS
from rooney.market.timeframes import TIMEFRAMES

# Beside those on the tape: a day delivered complete at its start, for what the old backtests read of the future.
FEATURE_TIMEFRAMES = (*TIMEFRAMES, "daily_ahead")
STATELESS = ("difference", "product", "ratio", "above", "below", "absolute", "from_number")
REMEMBERED = "remembered_v1"  # holds its input as it was when the last evaluation ended


class Node(msgspec.Struct, frozen=True):
    """A feature of the tree.

    field:  its field in the values
    kernel: None: read from the instrument `symbol`, or remembered
    length: with parameters in place of their names; of an open one, the most it may be
    text:   the length as the step reads it
    inputs: nodes it is computed from; of one read elsewhere, that node there
    linked: computed after all bars of a mark
    first_slot, past_slot: its state
    moves:  by how many points it moves for one point of a roll; "" its own instrument, else a linked symbol
    """

    field: str
    kernel: Kernel | None
    timeframe: int
    length: Any
    text: str
    inputs: tuple[int, ...]
    symbol: str
    linked: bool
    first_slot: int
    past_slot: int
    moves: dict[str, int]


class Layout(msgspec.Struct, frozen=True):
    """Nodes in the order they are computed; `names` are the strategy's own names for some of them.

    symbols: what features are read from besides the own instrument, in the order of `links`
    lengths: parameters that are lengths and not compiled in: each has a field in the values (`length_field`)
    """

    nodes: list[Node]
    names: dict[str, int]
    symbols: tuple[str, ...]
    n_slots: int
    lengths: tuple[str, ...] = ()

    @property
    def fields(self) -> list[str]:
        """Fields of the values: the strategy's names first, in its order."""
        named = list(self.names)
        lengths = [length_field(name) for name in self.lengths]
        return named + [node.field for node in self.nodes if node.field not in self.names] + lengths

    def values_dtype(self) -> Any:
        """VALUES: one float64 per field."""
        return np.dtype((np.record, [(field, np.float64) for field in self.fields]))

    def warm_up_bars(self, timeframe: int) -> int:
        """Bars of a timeframe until every feature on it has a value; 0 if there is none."""
        needs: list[int] = []
        for node in self.nodes:
            before = max((needs[i] for i in node.inputs if self.nodes[i].timeframe == node.timeframe), default=0)
            needs.append(before + (int(node.kernel.warm_up(node.length)) if node.kernel else 0))
        return max(
            (need for need, node in zip(needs, self.nodes, strict=True) if node.timeframe == timeframe), default=0
        )


def length_field(param: str) -> str:
    """Field of the values that holds an open length."""
    return f"length_of_{param}"


def lay_out(
    where: str, features: Mapping[str, Feature], params: Mapping[str, Any], most: Mapping[str, int] | None = None
) -> Layout:
    """Resolve features by name. `where` names the strategy file in errors (StrategyError).

    most: lengths to leave open, so that one compilation serves them all, by parameter, and how long each may become
    """
    return _Builder(where, params, most or {}).build(features)


def can_be_open(kernel: Kernel, least: Any, most: Any) -> bool:
    """True if a kernel's state for a shorter length lies within that for a longer one, and moves alike on a roll."""
    if kernel.price_slots is None:
        return True
    short, long = kernel.price_slots(least), kernel.price_slots(most)
    if short == long:
        return True
    ends = [[past for _, past in stretches] for stretches in (short, long)]
    return len(long) == 1 and short[0][0] == long[0][0] and ends == [[kernel.slots(least)], [kernel.slots(most)]]


class _Builder:
    def __init__(self, where: str, params: Mapping[str, Any], most: Mapping[str, int]) -> None:
        self._where = where
        self._params = params
        self._most = most
        self._nodes: list[Node] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._symbols: list[str] = []
        self._slot = 0

    def build(self, features: Mapping[str, Feature]) -> Layout:
        names = {name: self._add(name, feature, name) for name, feature in features.items()}
        return Layout(self._nodes, names, tuple(self._symbols), max(1, self._slot), tuple(sorted(self._most)))

    def _add(self, name: str, feature: Feature, field: str = "") -> int:
        """Index of the node of a feature, made if there is none yet. name: of the strategy's feature, for errors."""
        timeframe = self._timeframe(name, feature)
        if feature.symbol:
            source = self._add(name, msgspec.structs.replace(feature, symbol=""))
            if self._nodes[source].linked:
                self._refuse(name, f"is read from {feature.symbol!r}, but reads other instruments itself")
            if feature.symbol not in self._symbols:
                self._symbols.append(feature.symbol)
            own = self._nodes[source].moves.get("", 0)
            moves = {feature.symbol: own} if own else {}
            reads = (source,)
            return self._node(field, None, timeframe, 0, "0", reads, feature.symbol, linked=True, slots=0, moves=moves)
        kernel = KERNELS.get(feature.kernel)
        if kernel is None:
            near = difflib.get_close_matches(feature.kernel, KERNELS, n=3)
            known = f"did you mean {' or '.join(near)}?" if near else f"the library has {', '.join(sorted(KERNELS))}"
            self._refuse(name, f"asks for {feature.kernel!r}; {known}")
        wanted = {"bar": 0, "time": 0, "series": 1, "two": 2}[kernel.inputs]
        if len(feature.of) != wanted:
            self._refuse(
                name, f"{kernel.name} is computed from {wanted} other features (of=…), {len(feature.of)} given"
            )
        inputs = tuple(self._add(name, part) for part in feature.of)
        length = self._length(name, feature.length)
        parts = [self._nodes[i] for i in inputs]
        linked = any(part.linked or part.timeframe != timeframe for part in parts)
        try:
            slots = int(kernel.slots(length))
            kernel.warm_up(length)
        except StrategyError as error:
            self._refuse(name, f"has {error}")
        moves = _moves(kernel, parts)
        text = self._text(feature.length, length)
        return self._node(field, kernel, timeframe, length, text, inputs, "", linked, slots, moves)

    def _node(
        self,
        field: str,
        kernel: Kernel | None,
        timeframe: int,
        length: Any,
        text: str,
        inputs: tuple[int, ...],
        symbol: str,
        linked: bool,
        slots: int,
        moves: dict[str, int],
    ) -> int:
        key = (kernel.name if kernel else None, timeframe, text, inputs, symbol)
        found = self._known.get(key)
        if found is None:
            field = field or f"_{len(self._nodes)}"
            past = self._slot + slots
            node = Node(field, kernel, timeframe, length, text, inputs, symbol, linked, self._slot, past, moves)
            self._slot = past
            self._known[key] = found = len(self._nodes)
            self._nodes.append(node)
        return found

    def _timeframe(self, name: str, feature: Feature) -> int:
        if feature.timeframe not in FEATURE_TIMEFRAMES:
            self._refuse(name, f"is on {feature.timeframe!r}; timeframes are {', '.join(TIMEFRAMES)}")
        return FEATURE_TIMEFRAMES.index(feature.timeframe)

    def _length(self, name: str, length: Any) -> Any:
        if isinstance(length, tuple):
            return tuple(self._length(name, part) for part in length)
        given = self._most.get(length, self._params.get(length)) if isinstance(length, str) else length
        if given is None:
            self._refuse(name, f"takes its length from {length!r}, no parameter")
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given) or given < 0:
            self._refuse(name, f"has length {given!r}; it must be a number of bars")
        if not isinstance(length, float) and (int(given) != given or not given <= 100_000):
            self._refuse(name, f"has length {given!r}; it must be a whole number of bars")
        return given if isinstance(length, float) else int(given)

    def _text(self, given: Any, length: Any) -> str:
        if isinstance(given, tuple):
            parts = [self._text(*pair) for pair in zip(given, length, strict=True)]
            return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
        return f"int(f.{length_field(given)})" if given in self._most else repr(length)

    def _refuse(self, name: str, what: str) -> NoReturn:
        raise StrategyError(f"{self._where}: feature {name!r} {what}")


def _moves(kernel: Kernel, parts: list[Node]) -> dict[str, int]:
    if kernel.value == "price":
        return {"": 1}
    if kernel.value == "as input":
        return parts[0].moves
    if kernel.value == "difference":
        found = dict(parts[0].moves)
        for symbol, step in parts[1].moves.items():
            found[symbol] = found.get(symbol, 0) - step
        return {symbol: step for symbol, step in found.items() if step}
    return {}


def write(layout: Layout, timeframe: int) -> str:
    """Source of what `rooney.kernels.strategy_stub` says of features. timeframe: at which the strategy decides."""
    kernels = [node.kernel for node in layout.nodes if node.kernel and node.kernel.name != REMEMBERED]
    forms = {kernel.form for kernel in kernels} | {kernel.again_form for kernel in kernels if kernel.again_form}
    imports = sorted(map(_import, forms))
    folds: dict[int, list[str]] = {}
    links: dict[int, list[str]] = {}
    reads = [node for node in layout.nodes if node.symbol]
    refresh = []
    for node in reads:
        k = layout.symbols.index(node.symbol)
        there = layout.nodes[node.inputs[0]].field
        refresh.append(f"f.{node.field} = values[links[{k}]].{there} if links[{k}] >= 0 else math.nan")
    remembered = []
    for node in layout.nodes:
        if node.kernel is None:
            continue
        inputs = [f"f.{layout.nodes[i].field}" for i in node.inputs]
        if node.kernel.name == REMEMBERED:
            remembered.append(f"f.{node.field} = {inputs[0]}")
            continue
        target = links if node.linked else folds
        target.setdefault(node.timeframe, []).append(f"f.{node.field} = {_call(node, inputs)}")
    for name, i in layout.names.items():
        node = layout.nodes[i]
        if node.field != name:
            # The same feature under a second name follows wherever the first is set.
            copy = f"f.{name} = f.{node.field}"
            if node.symbol:
                refresh.append(copy)
            else:
                (links if node.linked else folds).setdefault(node.timeframe, []).append(copy)
    if refresh:
        links.setdefault(timeframe, [])
        links = {tf: ["refresh(f, values, links)", *lines] for tf, lines in links.items()}
    again = [
        f"f.{node.field} = {_call_again(node, [])}"
        for node in layout.nodes
        if node.kernel and node.kernel.again_form and not node.linked and node.kernel.inputs == "bar"
    ]
    relink = list(refresh)
    for node in layout.nodes:
        if node.kernel and node.linked and node.timeframe == timeframe:
            inputs = [f"f.{layout.nodes[i].field}" for i in node.inputs]
            if node.kernel.again_form:
                relink.append(f"f.{node.field} = {_call_again(node, inputs)}")
            elif node.kernel.name in STATELESS:
                relink.append(f"f.{node.field} = {_call(node, inputs)}")
    own, others = _shifts(layout)
    return (
        "".join(imports)
        + f"LINKED = {bool(links)}\nFINEST = {min(folds, default=0)}\n\n"
        + _function("fold(timeframe, s, f, local_ns, open_, high, low, close, volume)", "timeframe", folds)
        + _function("refresh(f, values, links)", "", {0: refresh})
        + _function("again(s, f)", "", {0: again})
        + _function("relink(s, f, values, links)", "", {0: relink})
        + _function("link(timeframe, s, f, values, links)", "timeframe", links)
        + _function("remember(f)", "", {0: remembered})
        + _function("shift(s, f, points)", "", {0: own})
        + _function("shift_linked(k, s, f, points)", "k", others)
    )


def _import(form: str) -> str:
    module, name = place_of(form)
    return f"from {module} import {name} as {_local(form)}\n"


def _local(form: str) -> str:
    """Name of a kernel in the written module: two modules may hold kernels of one name."""
    return form.replace(".", "_")


def _call(node: Node, inputs: list[str]) -> str:
    assert node.kernel is not None
    given = {
        "bar": ["open_", "high", "low", "close", "volume"],
        "time": ["local_ns"],
    }.get(node.kernel.inputs, inputs)
    return f"{_local(node.kernel.form)}({', '.join([_state(node), node.text, *given])})"


def _call_again(node: Node, inputs: list[str]) -> str:
    assert node.kernel is not None
    return f"{_local(node.kernel.again_form)}({', '.join([_state(node), node.text, *inputs])})"


def _state(node: Node) -> str:
    return f"s[{node.first_slot}:{node.past_slot}]"


def _shifts(layout: Layout) -> tuple[list[str], dict[int, list[str]]]:
    """Lines that move what a roll moves: of the own instrument, and per linked one."""
    own: list[str] = []
    others: dict[int, list[str]] = {}

    def move(symbol: str, what: str, step: int) -> None:
        line = f"{what} += {step} * points"
        if symbol:
            others.setdefault(layout.symbols.index(symbol), []).append(line)
        else:
            own.append(line)

    for node in layout.nodes:
        kernel = node.kernel
        for symbol, step in node.moves.items():
            move(symbol, f"f.{node.field}", step)
            for name, i in layout.names.items():
                if layout.nodes[i] is node and name != node.field:
                    move(symbol, f"f.{name}", step)
        if kernel is None or kernel.price_slots is None:
            continue
        moving = {"": 1} if kernel.inputs == "bar" else layout.nodes[node.inputs[0]].moves
        for first, past in kernel.price_slots(node.length):
            for symbol, step in moving.items():
                move(symbol, f"for i in range({node.first_slot + first}, {node.first_slot + past}): s[i]", step)
    return own, others


def _function(signature: str, switch: str, blocks: Mapping[int, list[str]]) -> str:
    """An njit function; with a `switch`, a block per value of that argument."""
    text = f"@njit\ndef {signature}:\n"
    for value, lines in sorted(blocks.items()):
        if lines:
            text += f"    if {switch} == {value}:\n" if switch else ""
            text += "".join(f"    {'    ' if switch else ''}{line}\n" for line in lines)
    return text + "    pass\n\n\n"
