"""Mutants of the judging code: one small change per place of its syntax tree, and the tests that have to notice it."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

MOST = 400  # a run is to take about ten minutes
SURVIVORS = Path(__file__).with_name("survivors.txt")

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_NAMES = {"max": "min", "min": "max", "any": "all", "all": "any", "maximum": "minimum", "argmax": "argmin"}
_LIMITS = ("gates", "plan", "_plan", "wanted")  # whose numbers are limits


_SKIPPED = {("keywords", ast.ClassDef), ("op", ast.AugAssign), ("exc", ast.Raise)}


class Target(NamedTuple):
    """Code that is changed, and the tests below `tests/` that hold it, quickest first.

    names: of functions and values, those in a function with its name before; none: the whole module
    """

    module: str
    names: tuple[str, ...]
    tests: tuple[str, ...]


_GATES = "research/models/test_gates.py"
_SHARPE = "research/validation/test_sharpe.py"
_SEARCHES = "research/optimize/test_judgement.py"
# The configuration first: later ones are forked when pytest's own plugins have read it.
TARGETS = (
    Target("rooney.config.schema", ("Gates", "Retrain.min_better"), (_GATES, "research/models/test_retrain.py")),
    Target("rooney.performance.measures", ("ROUNDING", "sharpe_ratio"), (_SHARPE,)),
    Target("research.validation.cpcv", (), ("research/validation/test_cpcv.py",)),
    Target("research.validation.daily_pnl", (), ("research/validation/test_daily_pnl.py",)),
    Target("research.validation.sharpe", (), (_SHARPE,)),
    Target(
        "research.models.promote",
        ("Optimized", "Selected", "missed_gates", "judge", "_of_search"),
        (_GATES, "models/test_bundle.py"),
    ),
    Target(
        "research.models.train",
        ("BLOCKS", "Plan", "train", "_cut", "_too_little", "_Search.best", "_Search._judge", "_daily", "_reasons"),
        (_GATES, "research/models/test_train.py"),
    ),
    Target("research.models.retrain", ("plan_of", "retrain.is_better"), ("research/models/test_retrain.py",)),
    Target("research.optimize.parameters", ("BLOCKS", "Plan", "conclude", "_paths", "_reasons"), (_SEARCHES,)),
    Target("research.optimize.instruments", ("Plan", "_path_sharpes", "_way", "_reasons"), (_SEARCHES,)),
)


class _Place(NamedTuple):
    """Node in its tree: `parent.field`, or item `index` of it."""

    parents: tuple[ast.AST, ...]
    field: str
    index: int | None
    node: ast.AST

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parents[-1], self.field, node)
        else:
            getattr(self.parents[-1], self.field)[self.index] = node


class Mutant(NamedTuple):
    """A change. key: where and what, the same as long as the code around it is; change: to be put into `tree`."""

    target: Target
    key: str
    tree: ast.Module
    place: _Place
    change: ast.AST

    def put(self) -> ast.Module:
        """The module's tree with the change in it, for good."""
        self.place.put(self.change)
        return ast.fix_missing_locations(self.tree)


def mutants() -> list[Mutant]:
    """Those of every target, in the order of the code."""
    return [mutant for target in TARGETS for mutant in _of(target)]


def survivors() -> dict[str, str]:
    """Reason by key, of the mutants that no test has to notice. Raises ValueError for a line without a reason."""
    found = {}
    for line in SURVIVORS.read_text().splitlines():
        key, _, reason = line.partition("  # ")
        if not reason:
            raise ValueError(f"{SURVIVORS.name}: expected KEY  # REASON, got {line!r}")
        found[key] = reason
    return found


def path_of(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


def _of(target: Target) -> Iterator[Mutant]:
    tree = ast.parse(path_of(target.module).read_text())
    seen: Counter[str] = Counter()
    for place in _places((tree,)):
        change = _change(place) if _is_in(target, place) else None
        if change is not None:
            key = f"{target.module}.{_told(place, change)}"
            seen[key] += 1
            yield Mutant(target, key if seen[key] == 1 else f"{key} ({seen[key]})", tree, place, change)


def _is_in(target: Target, place: _Place) -> bool:
    return not target.names or f"{_name(place)}.".startswith(tuple(f"{name}." for name in target.names))


def _name(place: _Place) -> str:
    """Dotted name of the definition that the place is in, and of the value that is assigned there."""
    names = []
    for node in place.parents:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.append(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.append(name)
            case ast.AugAssign(target=ast.Name(id=name)) | ast.AnnAssign(target=ast.Name(id=name)):
                names.append(name)
    return ".".join(names)


def _places(parents: tuple[ast.AST, ...]) -> Iterator[_Place]:
    """What runs: no annotation, no docstring or other bare value, no text of a message, no option of a class."""
    for field, value in ast.iter_fields(parents[-1]):
        if field in ("annotation", "returns", "decorator_list") or (field, type(parents[-1])) in _SKIPPED:
            continue
        for index, node in enumerate(value) if isinstance(value, list) else ((None, value),):
            bare = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if isinstance(node, ast.AST) and not bare and not isinstance(node, ast.JoinedStr):
                yield _Place(parents, field, index, node)
                yield from _places((*parents, node))


def _change(place: _Place) -> ast.AST | None:
    """The node put in its stead; None for one that stays."""
    node, parent = place.node, place.parents[-1]
    match node:
        case ast.Constant(value=bool(value)) if not isinstance(parent, ast.keyword):
            return ast.Constant(not value)
        case ast.Constant() if isinstance(parent, ast.Subscript) or getattr(parent, "arg", "ddof") != "ddof":
            return None
        case ast.Constant(value=int(value)):
            return ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            return ast.Constant(value * 1.1 if value else 1.0)
        case ast.Constant(value=str(value)) if value.isidentifier() and isinstance(parent, ast.Call):
            return ast.Constant(f"{value}_")
        case ast.Call(func=ast.Name(id="len")) if not isinstance(parent, ast.Compare):  # there its operator is changed
            return ast.BinOp(node, ast.Add(), ast.Constant(1))
        case ast.Name(id=name) if name in _NAMES:
            return ast.Name(_NAMES[name], node.ctx)
        case ast.Attribute(attr=name) if name in _NAMES:
            return ast.Attribute(node.value, _NAMES[name], node.ctx)
        case ast.Attribute(attr="nan"):
            return ast.Constant(0.0)
        case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner)) if owner == "gates" or (
            owner in _LIMITS and isinstance(parent, ast.Compare)
        ):
            return ast.BinOp(node, ast.Mult(), ast.Constant(1.1))
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub(), operand=operand):
            return operand
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break() if isinstance(parent, ast.If):
            return ast.Pass()
        case ast.Div() if isinstance(parent, ast.BinOp) and ast.unparse(parent.right).isupper():
            return None  # a path's, not a number's
        case _ if type(node) in _OPERATORS:
            return _OPERATORS[type(node)]()
        case ast.Name() | ast.Attribute() | ast.Call() if place.field == "test":
            return ast.UnaryOp(ast.Not(), node)
    return None


def _told(place: _Place, change: ast.AST) -> str:
    """Definition, and the smallest part around the change that says something, before and after."""
    small = ast.Attribute | ast.Name | ast.UnaryOp | ast.Tuple | ast.Slice | ast.arguments | ast.List
    whole = next(node for node in reversed(place.parents) if not isinstance(node, small))
    if isinstance(change, ast.Pass):
        before, after = ast.unparse(place.node), "dropped"
    elif isinstance(whole, ast.Dict):
        before, after = ast.unparse(place.node), ast.unparse(change)
    else:
        before = ast.unparse(whole)
        place.put(change)
        after = ast.unparse(whole)
        place.put(place.node)
    return f"{_name(place)}: {before.splitlines()[0].strip()} -> {after.splitlines()[0].strip()}"
