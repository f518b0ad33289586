"""Damaged bytes in great number: each reader gives a value or its one named error, within a second, whatever comes."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

A_VALUE = "a value"
_NUMBERS = [
    *(b"0", b"-1", b"1e309", b"-1e309", b"NaN", b"Infinity", b"1.5", b"null", b"true", b'""', b"[]", b"{}", b"''"),
    *(str(2**bits + off).encode() for bits in (31, 32, 63, 64, 70) for off in (-1, 0)),
]
_PIECES = [
    *(
        b"\x00",
        b"\xff",
        b"\x7f",
        b"\x80",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        "J\xf6rg".encode("latin-1"),
        b"\r",
        b"\n\n",
    ),
    *(
        b"[" * 5_000,
        b"{" * 5_000,
        b'{"a":' * 2_000,
        b"\x91" * 5_000,
        b"- " * 3_000,
        b"9" * 400,
        b"${",
        b"&a ",
        b"*a",
        b"!!",
    ),
    *(b"\xdb\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01"),
]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A reader of bytes from outside.

    valid: contents it gives a value for; damaged ones are made of them
    read:  called with the content; raises one of `errors`, and nothing else
    """

    valid: Sequence[bytes]
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]


def damaged(rng: random.Random, valid: Sequence[bytes]) -> bytes:
    """One of `valid` after one to four changes: bits, bytes, ranges, numbers, another's end, nesting without end."""
    content = bytearray(rng.choice(valid))
    for _ in range(rng.choice((1, 1, 2, 4))):
        size = len(content)
        at = rng.randrange(size + 1)
        end = min(size, at + rng.choice((1, 1, 2, 4, 8, 64)))
        match rng.randrange(10):
            case 0 | 1 if at < size:
                content[at] ^= 1 << rng.randrange(8)
            case 2 if at < size:
                content[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x5B, 0x7B, 0x2D))
            case 3:
                del content[at:end]
            case 4:
                del content[at:]
            case 5:
                content[at:at] = content[at:end] * rng.choice((1, 2, 50))
            case 6:
                content[at:at] = rng.randbytes(rng.choice((1, 4, 16)))
            case 7:
                content[at:] = rng.choice(valid)[at:]
            case 8:
                _replace_a_number(rng, content)
            case _ if rng.random() < 0.2:  # these are long
                content[at:end] = rng.choice(_PIECES)
            case _:
                content[at:end] = rng.choice(_NUMBERS)
    return bytes(content)


def _replace_a_number(rng: random.Random, content: bytearray) -> None:
    digits = [at for at, byte in enumerate(content[:4_096]) if 0x30 <= byte <= 0x39]
    if digits:
        first = last = rng.choice(digits)
        while last < len(content) and (0x30 <= content[last] <= 0x39 or content[last] == 0x2E):
            last += 1
        content[first:last] = rng.choice(_NUMBERS)


def sweep(readers: Mapping[str, Reader], cases: int, seed: int) -> Counter[str]:
    """Tally by reader and verdict over `cases` contents, shared evenly among the readers.

    Raises AssertionError for a content that a reader met with another error or thought about for over a second.
    """
    tally: Counter[str] = Counter()
    for number, (name, reader) in enumerate(sorted(readers.items())):
        for content in reader.valid:
            reader.read(content)  # else there is nothing to damage
        rng = random.Random(f"{seed} {name}")
        for case in range(cases // len(readers) + (number < cases % len(readers))):
            content = damaged(rng, reader.valid)
            tally[f"{name}: {verdict(reader, content, f'{name}, seed {seed}, case {case}')}"] += 1
    return tally


def verdict(reader: Reader, content: bytes, where: str = "") -> str:
    """Verdict of a reader on one content: `a value`, or its error's name. Raises AssertionError as `sweep`."""
    started_s = time.thread_time()
    try:
        reader.read(content)
        answer = A_VALUE
    except reader.errors as error:
        answer = type(error).__name__
    except BaseException as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {error} for {content[:2_000]!r}") from error
    took_s = time.thread_time() - started_s
    assert took_s < 3.0, f"{where}: {took_s:.1f} s for {content[:2_000]!r}"
    return answer
