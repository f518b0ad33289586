"""Digests of code: what a model or a checkpoint was made with, whatever the code is called and wherever it lies.

Of kernels the syntax trees count that can be reached from what is used: neither a docstring, a comment, the name of a
module or function nor a kernel that nothing calls changes a digest; an operator does. Of a strategy's own files
everything counts but docstrings, comments and imports. No code is run, so numba is not needed.

Until commit f209ce1 digests were made of the text of whole files. What was promoted or frozen with that code is still
what it was: `EARLIER` says which texts are which code.
"""

import ast
import builtins
import functools
import hashlib
import importlib.metadata
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

import rooney
from rooney.features.catalogue import catalogue
from rooney.features.feature import Feature
from rooney.features.kernel import place_of
from rooney.features.kernel_registry import KERNELS
from rooney.strategy.base import Strategy
from rooney.strategy.loader import load

# Digests of text as of commit f209ce1, and of the same code by its syntax now (16 hex digits of each). A change that
# leaves all decisions as they are (golden digests hold) puts the new digests here: `python -m tests.support.digests`
# prints the table. A change of the numbers or of a step's state takes lines out: what knew the old ones is refused, or
# warmed up afresh.
EARLIER = {
    # every kernel
    "a026abfa4d4af2fe7b26f2f462f502fb6db018e6b21e03285da3db50a104e8d9": "dc680b5fd57b2e8f",
    # the step of ibs, with the features, filters and lengths it is shipped with; channels keep other state since
    "a2977a7bdb02eba527c824ddf2ffc10266040d755aad9a0aabd3086b605e3f2b": "e413b2b86a698c9a",
}
SHORT = 16

_PACKAGE = Path(rooney.__file__).parent
_INSTALLED = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))
_STEP = ("rooney.kernels.step", "step")
_STATE = tuple(("rooney.kernels.dtypes", record) for record in ("ACCOUNT", "POSITION", "SPAN", "BAR"))
_SKIPPED = {"annotation", "returns", "type_comment", "type_params", "kind", "ctx"}  # say nothing of what is computed
_FIELDS = {
    kind: tuple(field for field in kind._fields if field not in _SKIPPED)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)

Meaning = Callable[[str, str], str | None]  # of a name and an attribute of it ("" without); None: only the name itself


def sha256(*parts: str) -> str:
    """sha256 of texts, as hex."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class _Words:
    """The words of a syntax tree, with names that may mean something outside of it left open until all are known."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._open: list[tuple[int, str, str]] = []  # where in the words, name, attribute of it
        self._own: set[str] = set()

    def add(self, node: Any) -> None:
        """The words of a node and of all below it."""
        kind = type(node)
        words = self.words
        if kind is ast.Name:
            if type(node.ctx) is ast.Load:
                self._open.append((len(words), node.id, ""))
            else:
                self._own.add(node.id)
            words.append(node.id)
            return
        if kind is ast.Constant:
            words.append(repr(node.value))
            return
        if kind is ast.Attribute and type(node.value) is ast.Name:
            self._open.append((len(words), node.value.id, node.attr))
            words.append(f"{node.value.id}.{node.attr}")
            return
        if kind is ast.Import or kind is ast.ImportFrom:
            return
        words.append(kind.__name__)
        if kind is ast.arg:
            self._own.add(node.arg)
        for field in _FIELDS[kind]:
            value = getattr(node, field, None)
            if type(value) is list:
                if field == "body" and kind in _DOCUMENTED and ast.get_docstring(node, clean=False) is not None:
                    value = value[1:]
                words.append("[")
                for item in value:
                    if isinstance(item, ast.AST):
                        self.add(item)
                    else:
                        words.append(repr(item))
                words.append("]")
            elif isinstance(value, ast.AST):
                self.add(value)
            else:
                words.append(repr(value))

    def digest(self, meaning: Meaning) -> str:
        """sha256 of the words, open names in their meaning."""
        for at, name, attribute in self._open:
            if name not in self._own:
                meant = meaning(name, attribute)
                if meant is not None:
                    self.words[at] = meant
        return sha256(*self.words)


class _Module:
    """The top level of a module: definitions by name, and what its imports bring, as (module, name in it or "")."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.definitions: dict[str, list[ast.AST]] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        self._read(self.tree.body)

    def _read(self, body: Iterable[ast.AST]) -> None:
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    self._define([name], [node])
                case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                    self._define([getattr(target, "id", "") for target in targets], values)
                case ast.Assign(targets=targets, value=value):
                    stored = (name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
                    names = [name.id for name in stored if isinstance(name.ctx, ast.Store)]
                    self._define(names, [value] * len(names))
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.AST() as value):
                    self._define([name], [value])
                case ast.Import(names=imported):
                    for alias in imported:
                        self.imports[alias.asname or alias.name.partition(".")[0]] = (alias.name, "")
                case ast.ImportFrom(module=module, names=imported):
                    for alias in imported:
                        self.imports[alias.asname or alias.name] = (module or "", alias.name)
                case ast.If(body=first, orelse=second):
                    self._read([*first, *second])

    def _define(self, names: Sequence[str], nodes: Sequence[ast.AST]) -> None:
        for name, node in zip(names, nodes, strict=True):
            self.definitions.setdefault(name, []).append(node)


class Tree:
    """The kernels' sources below a folder, read as they are needed."""

    def __init__(self, root: Path = _PACKAGE.parent) -> None:
        self._root = root
        self._modules: dict[str, _Module | None] = {}
        self._known: dict[tuple[str, str], str] = {}

    def step(self) -> str:
        """Digest of the step, without a strategy's own rules and features, and of the state it keeps."""
        return sha256(*(self.definition(*place) for place in (_STEP, *_STATE)))

    def kernels(self, names: Iterable[str]) -> str:
        """Digest of the step and of kernels of the registry."""
        return sha256(self.step(), *(f"{name} {self._kernel(name)}" for name in sorted(set(names) & KERNELS.keys())))

    def text(self, text: str) -> str:
        """Digest of a whole file that is no kernel, and of the kernels it uses."""
        module, words = _Module(text), _Words()
        words.add(module.tree)
        return words.digest(
            lambda used, attribute: self._imported(*module.imports[used], attribute) if used in module.imports else None
        )

    def definition(self, module: str, name: str) -> str:
        """Digest of a function or constant of kernels, and of all it uses. Raises LookupError for an unknown name."""
        key = (module, name)
        if key not in self._known:
            self._known[key] = name  # should it call itself
            self._known[key] = self._worked_out(module, name)
        return self._known[key]

    def _kernel(self, name: str) -> str:
        kernel = KERNELS[name]
        return sha256(*(self.definition(*place_of(form)) for form in (kernel.form, kernel.again_form) if form))

    def _module(self, name: str) -> _Module | None:
        """A module of the kernels; None for any other."""
        if name not in self._modules:
            path = self._root / f"{name.replace('.', '/')}.py"
            is_kernels = name.startswith("rooney.kernels.") and path.is_file()
            self._modules[name] = _Module(path.read_text()) if is_kernels else None
        return self._modules[name]

    def _worked_out(self, module: str, name: str) -> str:
        there = self._module(module)
        if there is None or name not in there.definitions:
            raise LookupError(f"{module} does not define {name} by a plain statement")
        nodes = there.definitions[name]
        if len(nodes) == 1 and isinstance(nodes[0], ast.Constant):
            return repr(nodes[0].value)  # a number means the same with and without a name
        words = _Words()
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                node.name = ""
            words.add(node)
        return words.digest(functools.partial(self._meaning, module, there))

    def _meaning(self, name: str, module: _Module, used: str, attribute: str) -> str | None:
        if used in module.definitions:
            return self._defined(name, module, used, attribute)
        if used in module.imports:
            return self._imported(*module.imports[used], attribute)
        if not hasattr(builtins, used):
            raise LookupError(f"{name} uses {used}, which no plain statement defines")
        return None

    def _imported(self, module: str, name: str, attribute: str) -> str:
        """Meaning of an import: a kernel's is its digest, of all else the name."""
        whole = f"{module}.{name}" if name else module
        if attribute and self._module(whole) is not None:
            return self.definition(whole, attribute)
        there = self._module(module)
        if there is None or not name:
            return f"{name if module.startswith('rooney.') else whole}.{attribute}"
        if name in there.imports and name not in there.definitions:
            return self._imported(*there.imports[name], attribute)
        return self._defined(module, there, name, attribute)

    def _defined(self, module: str, there: _Module, name: str, attribute: str) -> str:
        """Digest of a definition, or of a member of an enum the number."""
        for node in there.definitions.get(name, ()) if attribute else ():
            for line in node.body if isinstance(node, ast.ClassDef) else ():
                match line:
                    case ast.Assign(targets=[ast.Name(id=member)], value=ast.Constant(value=number)):
                        if member == attribute:
                            return repr(number)
        return self.definition(module, name) + attribute


tree = functools.cache(Tree)


def code_digests(strategy: str, features: Iterable[str]) -> dict[str, str]:
    """sha256 of what a model's numbers come from: kernels, definitions of features, the strategy's file.

    Raises StrategyError for a feature that this version does not know.
    """
    cls = load(strategy)
    defined = {name: catalogue(name) for name in features}
    own = (*cls.features.values(), *(item.feature for item in cls.filters.values()), Feature("atr"))  # of stops
    return {
        "kernels": tree().kernels(name for feature in (*own, *defined.values()) for name in _kernel_names(feature)),
        "features": hashlib.sha256(msgspec.msgpack.encode(defined, order="deterministic")).hexdigest(),
        "strategy": strategy_digest(cls),
    }


def other_code(was: Mapping[str, str], strategy: str, features: Iterable[str]) -> dict[str, str]:
    """Today's digests of code that is not what it was, by name. was: `code_digests` of then."""
    earlier: dict[str, Callable[[str], bool]] = {
        "kernels": lambda digest: EARLIER.get(digest) == tree().kernels(KERNELS)[:SHORT],
        "strategy": lambda digest: digest == sha256(*_texts(load(strategy))),
    }
    return {
        name: digest
        for name, digest in code_digests(strategy, features).items()
        if was.get(name) != digest and not (name in was and name in earlier and earlier[name](was[name]))
    }


class StepDigests(msgspec.Struct, frozen=True):
    """Names of a strategy's step.

    code:     of what it computes and of the state it keeps
    compiled: of that, and of the versions of what makes machine code of it
    """

    code: str
    compiled: str

    def earlier(self) -> list[str]:
        """Names that commit f209ce1 gave to the same step."""
        return [was for was, code in EARLIER.items() if code == self.code[:SHORT]]


def step_digests(strategy: type[Strategy], written: str, fields: Iterable[str]) -> StepDigests:
    """Names of the step of a strategy. written: the functions that compute its features; fields: of its values."""
    code = sha256(
        tree().step(), tree().text(written), strategy_digest(strategy), ",".join(strategy.declared()), ",".join(fields)
    )
    version = importlib.metadata.version
    versions = (version("numba"), os.environ.get("NUMBA_CPU_NAME", ""), version("numpy"))
    return StepDigests(code, sha256(code, *versions))


def strategy_digest(strategy: type[Strategy]) -> str:
    """Digest of a strategy's file and of what it imports of its own: its rules, features, filters and parameters."""
    return sha256(*sorted(map(_text_digest, _texts(strategy))))


def _text_digest(text: str) -> str:
    try:
        return tree().text(text)
    except (SyntaxError, ValueError):  # an extension module, or text in another encoding
        return sha256(text)


def _texts(strategy: type[Strategy]) -> list[str]:
    """Texts of a strategy's module and of what it imports of the same kind: neither installed nor of this package."""
    own = sys.modules[strategy.__module__]
    texts: dict[str, str] = {}
    waiting = [own]
    while waiting:
        module = waiting.pop()
        file = getattr(module, "__file__", None)
        if file is None or file in texts:
            continue
        if module is not own and (file.startswith(_INSTALLED) or _PACKAGE in Path(file).parents):
            continue
        texts[file] = Path(file).read_text(encoding="utf-8", errors="backslashreplace")
        for value in vars(module).values():
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            waiting += [sys.modules[name]] if isinstance(name, str) and name in sys.modules else []
    return [texts[file] for file in sorted(texts)]


def _kernel_names(feature: Feature) -> set[str]:
    return {feature.kernel}.union(*map(_kernel_names, feature.of))
