"""A YAML tree → frozen structs, and errors a person can act on: key path, what came, what was allowed, what now.

The structs' own annotations are the schema. A value that may be a secret is never quoted: only short plain text is.
"""

import difflib
import functools
import itertools
import math
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import inspect

from rooney.errors import ConfigError
from rooney.secrets import Secret, check_references, expand, has_reference

Scalar = bool | int | float | str
Tree = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)

REFUSED = "the configuration is refused"
_MAX_DEPTH = 12  # deeper than any key; also stops an alias that contains itself
_MOST_CHARACTERS = 128 * 1024  # twelve times the shipped file; PyYAML reads so many in less than a second
_MOST_VALUES = 20_000  # a page of aliases of aliases stands for more than any memory holds
_LONGEST = 4_096  # characters of one value; what YAML takes for a number is computed in time squared
_DEFERRED = object()  # stands for a value that is known only once its variable is


def shown(value: object) -> str:
    """`value` for an error's text; anything long or shaped like an URL or a key is described, not quoted."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case dict():
            return "a mapping"
        case list() | tuple():
            return f"a list of {len(value)}"
        case str() if has_reference(value):
            return "the value of ${…}"
        case str() if len(value) > 24 or "//" in value or value.startswith("db-") or not value.isprintable():
            return f"a text of {len(value)} characters"
        case _:
            return repr(value)[:40]


def join(path: str, key: object) -> str:
    """`path.key`; a key nobody would choose (a misplaced URL) is described instead."""
    text = str(key)
    if not re.fullmatch(r"(?!db-)[A-Za-z0-9_-]{1,31}", text):
        text = f"<{shown(key)}>"
    return f"{path}.{text}" if path else text


def wrong(path: str, expected: str, got: object) -> ConfigError:
    """The error for a value that is not what its key takes."""
    return ConfigError(f"{path}: expected {expected}, got {shown(got)}; {REFUSED}")


def unknown(path: str, what: str, name: object, known: Iterable[str]) -> ConfigError:
    """The error for a name that is not one of `known`, with the nearest of them."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names) or 'none'}"
    return ConfigError(f"{path}: unknown {what} {shown(name)}; {hint} ({REFUSED})")


# -- YAML ---------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Ends with what no file of ours holds before all of it is read."""

    def __init__(self, where: str, text: str) -> None:
        super().__init__(text)  # raises for a control character
        self._where = where
        self._count = itertools.count(1)

    def compose_node(self, parent: Any, index: Any) -> Any:
        _check_count(self._where, self._count)
        return super().compose_node(parent, index)


def _check_count(where: str, count: Iterator[int]) -> None:
    if next(count) > _MOST_VALUES:
        raise ConfigError(f"{where}: says more than {_MOST_VALUES:,} values, its aliases followed; {REFUSED}")


def parse_yaml(where: str, text: str, path: str = "") -> Any:
    """YAML as plain values; a key given twice is an error, because YAML would silently keep the last.

    where: file or key, for errors of syntax; path: what the keys inside are under
    """
    if len(text) > _MOST_CHARACTERS:
        raise ConfigError(f"{where}: larger than {_MOST_CHARACTERS:,} characters; {REFUSED}")
    try:
        loader = _Loader(where, text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_nodes(where, path, node, itertools.count(1))
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        # The error's own text quotes the line, and the line may hold a secret.
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = re.sub(r"""(['"])(?!<).{5,}\1""", "'…'", error.problem or "a mistake", flags=re.DOTALL)
        raise ConfigError(f"{where}: {line}this is not YAML: {problem}; {REFUSED}") from None
    except ConfigError:
        raise
    except Exception:  # noqa: BLE001 - whatever, for a date such as 2024-99-99, an empty !!int, a thousand brackets
        raise ConfigError(f"{where}: this is not YAML that can be read; {REFUSED}") from None


def _check_nodes(where: str, path: str, node: yaml.Node, count: Iterator[int], depth: int = 0) -> None:
    """Raises ConfigError for a key given twice, and for more than any file of ours says: deeper, longer, more."""
    if depth > _MAX_DEPTH:
        raise ConfigError(f"{path}: nested deeper than any key of this file; {REFUSED}")
    _check_count(where, count)
    if isinstance(node, yaml.ScalarNode) and len(node.value) > _LONGEST:
        raise ConfigError(f"{path or where}: longer than {_LONGEST:,} characters; {REFUSED}")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _check_nodes(where, f"{path}[{index}]", item, count, depth + 1)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            inner = join(path, key.value) if isinstance(key, yaml.ScalarNode) else f"{path or where}, line {line}"
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{inner}: a key must be plain text; {REFUSED}")
            if key.value in first:
                raise ConfigError(f"{inner}: given twice, in lines {first[key.value]} and {line}; {REFUSED}")
            first[key.value] = line
            _check_nodes(where, inner, value, count, depth + 1)


def override(tree: Tree, assignment: str, named: Iterable[str]) -> None:
    """Apply one `section.key=value` to `tree`, the value read as YAML.

    named: sections whose second level is a name that must exist already: an override changes, it never invents
    Whether the last key exists at all is judged with the rest of the file.
    """
    dotted, equals, text = assignment.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set: expected section.key=value, got {shown(assignment)}; {REFUSED}")
    path = keys[0]
    if len(keys) < 2:
        raise ConfigError(f"{join('', path)}: expected section.key=value, got a whole section; {REFUSED}")
    names = tree.get(path) or {}
    if path in named and isinstance(names, dict) and keys[1] not in names:
        raise unknown(join(path, keys[1]), f"name in {path}", keys[1], map(str, names))
    path, at = "", tree
    for key in keys[:-1]:
        path = join(path, key)
        if not isinstance(at.get(key) or {}, dict):
            raise wrong(path, "a mapping", at[key])
        # A copy: blocks that share an anchor are one object, and only this one is meant.
        at[key] = dict(at.get(key) or {})
        at = at[key]
    path = join(path, keys[-1])
    at[keys[-1]] = parse_yaml(path, text, path)


# -- values -------------------------------------------------------------------------------------------------------


def describe(kind: Any) -> str:
    """Values that an annotation allows, for people."""
    if kind == Scalar:
        return "a number, a text, true or false"
    return _describe(inspect.type_info(kind))


def _describe(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            return str((extra or {}).get("description") or _describe(inner))
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            noun = "an int" if isinstance(info, inspect.IntType) else "a number"
            bounds = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
            limits = [
                f"{sign} {getattr(info, name):g}" for name, sign in bounds.items() if getattr(info, name) is not None
            ]
            return " ".join([noun, " and ".join(limits)]).strip()
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0])
        case inspect.UnionType(types=types):
            return " or ".join(_describe(t) for t in types if not isinstance(t, inspect.NoneType))
        case _:
            return "a text"


class Reader:
    """Reads values against annotations, following their paths.

    environ:  where `${NAME}` is looked up; None defers such values to the moment they are used
    deferred: paths of the values that were left out for that reason; their fields hold the defaults
    """

    def __init__(self, environ: Mapping[str, str] | None) -> None:
        self._environ = environ
        self.deferred: set[str] = set()

    def struct(self, path: str, tree: object, cls: type[S]) -> S:
        """A block of the file; one without content is all defaults."""
        hints = get_type_hints(cls, include_extras=True)
        values = {}
        for key, value in self._mapping(path, tree).items():
            if key not in hints:
                raise unknown(join(path, key), "key", key, hints)
            read = self.read(join(path, key), value, hints[key])
            if read is not _DEFERRED:
                values[key] = read
        return cls(**values)

    def read(self, path: str, value: object, kind: Any) -> Any:
        """One value of any annotation the structs use."""
        if type(None) in get_args(kind):
            if value is None or (value is False and bool not in get_args(kind)):
                return None  # `off` in YAML is false
            kind = functools.reduce(operator.or_, [each for each in get_args(kind) if each is not type(None)])
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(path, value, kind)
        if get_origin(kind) is dict:
            pairs = [(k, self.read(join(path, k), v, get_args(kind)[1])) for k, v in self._mapping(path, value).items()]
            return {k: read for k, read in pairs if read is not _DEFERRED}
        if get_origin(kind) is tuple:
            item = get_args(kind)[0]
            if not isinstance(value, list):
                raise wrong(path, f"a list, each {describe(item)}", value)
            items = [self.read(f"{path}[{n}]", v, item) for n, v in enumerate(value)]
            return tuple(read for read in items if read is not _DEFERRED)
        return self._leaf(path, value, kind)

    def _leaf(self, path: str, value: object, kind: Any) -> Any:
        if kind is Secret:
            if not isinstance(value, str) or not value.strip():
                what = "nothing" if not value else "something else"  # even a number may be a secret
                raise ConfigError(f"{path}: expected ${{NAME}}, got {what}; {REFUSED}")
            check_references(path, value)
            return Secret(value.strip())
        given, strict = value, True
        if isinstance(value, str) and has_reference(value):
            check_references(path, value)
            if self._environ is None:
                self.deferred.add(path)
                return _DEFERRED
            text = expand(path, value, self._environ)
            # A variable is always text: let it become what the key takes; a free value is read as the file is.
            given, strict = (parse_yaml(path, text) if kind == Scalar else text), False
        try:
            read = msgspec.convert(given, kind, strict=strict)
        except msgspec.ValidationError:
            raise wrong(path, describe(kind), value) from None
        if isinstance(read, float) and not math.isfinite(read):
            raise wrong(path, f"{describe(kind)}, and finite", value)
        return read

    @staticmethod
    def _mapping(path: str, tree: object) -> Tree:
        if tree is None:
            return {}
        if not isinstance(tree, dict):
            raise wrong(path, "a mapping", tree)
        for key in tree:
            if not isinstance(key, str):
                raise ConfigError(f"{join(path, key)}: expected a key of plain text (put it in quotes); {REFUSED}")
        return tree
