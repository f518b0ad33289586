"""Configuration in YAML: the file, one `--set`, and text on its own; a value or a ConfigError, within a second."""

import copy
import tempfile
from collections import Counter
from pathlib import Path

from rooney.config.loader import load_config
from rooney.config.validation import override, parse_yaml
from rooney.errors import ConfigError
from tests.support.mutations import Reader, sweep

FILE = b"""\
data_hub: {redis_socket: /run/redis.sock, feed_dead_s: 90}
instruments: {ES: &es {size: 2, commission: 2.5}, NQ: *es}
strategies:
  ibs:
    mode: paper
    paper_account: ${IBS}
    instruments: [ES, NQ]
    entry_windows: ["08:30-15:00"]
    strategy_params: {ibs_entry_high: 0.2, stop_percent: 1}
    overrides: {NQ: {size: 1, strategy_params: {ibs_entry_high: 0.1}}}
"""
SNIPPETS = [
    b"a: &a [1, -2.5, 0x1F, 1:30:15, 1:30.5, .inf, 2026-11-30, 2026-11-30T06:00:00.5+01:00, ~, yes, 'x', \"\\u00e9\"]",
    b"a: &a {x: 1}\nb: &b {<<: *a, y: [*a, *a]}\nc: {<<: [*a, *b], z: !!binary aGk=, w: !!set {p, q}}",
    b"|\n  text\n  of lines\n",
    b"- !!omap [a: 1, b: 2]\n- !!pairs [a: 1]\n- !!str 7\n- !!int '7'\n- !!float '7'\n- ? k\n  : v\n",
]


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by reader and verdict."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as folder:
        path = Path(folder) / "config.yml"
        tree = parse_yaml("valid", FILE.decode())

        def file(content: bytes) -> None:
            path.write_bytes(content)
            config = load_config(path, environ={"IBS": "https://example.com/secret"})
            for name in config.names:
                config.block(name)

        def setting(content: bytes) -> None:
            override(copy.deepcopy(tree), content.decode(errors="replace"), named=("strategies",))

        readers = {
            "file": Reader(valid=[FILE], read=file, errors=(ConfigError,)),
            "text": Reader(
                valid=SNIPPETS, read=lambda content: parse_yaml("f", content.decode("latin-1")), errors=(ConfigError,)
            ),
            "--set": Reader(
                valid=[b"strategies.ibs.overrides={NQ: {size: 3}}", b"data_hub.feed_dead_s=120"],
                read=setting,
                errors=(ConfigError,),
            ),
        }
        return sweep(readers, cases, seed)
