"""Secrets and `${NAME}`: what stays unresolved until it is used, and where its value comes from.

A value comes from the credentials directory systemd fills, else from the environment. Nothing here ever puts a value
into an error's text; names of variables and credentials are not secret.
"""

import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from rooney.errors import ConfigError, FileError, MissingFileError
from rooney.files import read_text

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")  # ${NAME} or ${NAME:-default}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class Secret:
    """Text that must not be shown: repr and str give variable names at most, `reveal()` alone gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; to be passed on, never printed."""
        return self._text

    @property
    def literal(self) -> bool:
        """True where the text, or a default in it, is the secret itself rather than a name for it."""
        found = _REFERENCE.findall(self._text)
        return not found or any(default for _, default in found)

    def __repr__(self) -> str:
        names = [f"${{{name}}}" for name, _ in _REFERENCE.findall(self._text)]
        return f"Secret({' '.join(names) or 'hidden'})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def has_reference(text: str) -> bool:
    """True if `text` wants something from the environment, well written or not."""
    return "${" in text


def check_references(path: str, text: str) -> None:
    """Refuse a `${` that begins no proper reference: it would reach a broker or a socket as it stands."""
    if has_reference(_REFERENCE.sub("", text)):
        raise ConfigError(
            f"{path}: expected ${{NAME}} or ${{NAME:-default}} with a name of letters, digits and _, "
            "got another text after '${'; the configuration is refused"
        )


def expand(path: str, text: str, environ: Mapping[str, str]) -> str:
    """`text` with every reference replaced; an empty variable counts as missing, as in a shell's `:-`."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = environ.get(name) or default
        if found is None:
            raise ConfigError(f"{path}: the environment variable {name} is not set or empty; set it, or repair the key")
        return found

    check_references(path, text)
    return _REFERENCE.sub(value, text)


def read_credential(path: str, directory: Path | None, name: str) -> Secret | None:
    """The credential `name` for the key `path`, or None where there is no such file."""
    if directory is None:
        return None
    try:
        text = read_text(directory / name).strip()
    except MissingFileError:
        return None
    except FileError as error:
        raise ConfigError(f"{path}: the credential {name} cannot be read: {error.why}; not used") from None
    if not text:
        raise ConfigError(f"{path}: the credential {name} is empty; not used")
    return Secret(text)


def credentials_directory(environ: Mapping[str, str]) -> Path | None:
    """Where systemd put this unit's credentials; None in a terminal."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    return Path(directory) if directory else None


def read_env_file(path: Path, environ: MutableMapping[str, str]) -> list[str]:
    """Add the file's KEY=VALUE lines to `environ` and return the names added; a variable already set is kept.

    Known: blank lines, # comments, `export`, single quotes (as it stands), double quotes (with backslash escapes).
    For a terminal only: a unit gets its secrets as credentials, since every child inherits an environment.
    """
    lines = read_text(path, what="the environment file", then="nothing was set").splitlines()
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("export ").lstrip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise ConfigError(f"{path}: line {number}: expected KEY=VALUE, a comment or nothing; nothing was set")
        unquoted = _unquoted(value.strip())
        if unquoted is None:
            raise ConfigError(f"{path}: line {number}: the quotes of {key} do not match; nothing was set")
        found[key] = unquoted
    added = [name for name in found if name not in environ]
    environ.update({name: found[name] for name in added})
    return added


def _unquoted(value: str) -> str | None:
    """The value meant by one line's right side, or None if its quotes do not match."""
    if value.startswith("'"):
        match = re.fullmatch(r"'([^']*)'\s*(?:#.*)?", value)
        return match.group(1) if match else None
    if value.startswith('"'):
        match = re.fullmatch(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?', value)
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), match.group(1)) if match else None
    return re.sub(r"(?:^|\s+)#.*", "", value)
