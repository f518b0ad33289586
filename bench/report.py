"""The measured numbers as one markdown table.

python -m bench.report                       run all benchmarks, the slow ones and the peers too, print the table
python -m bench.report --json FILE           read `pytest bench --benchmark-only --benchmark-json FILE`'s output
python -m bench.report --peers FILE          read `python -m bench.peers --json`'s output
python -m bench.report --write FILE          replace what is between <!-- bench --> and <!-- /bench -->
python -m bench.report bench/bench_bars.py   only these, and no peers
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


def measure(files: list[str]) -> tuple[dict[str, Any], int]:
    """Run the benchmarks; their JSON and pytest's exit status."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bench.json"
        argv = [sys.executable, "-m", "pytest", *files, "-m", "", "--benchmark-only", f"--benchmark-json={path}"]
        code = subprocess.run([*argv, "--benchmark-quiet"], check=False, stdout=sys.stderr).returncode
        if not path.exists():
            raise SystemExit(f"bench: pytest wrote no results (exit status {code})")
        return json.loads(path.read_text()), code


def measure_peers() -> tuple[dict[str, Any], int]:
    """Run the comparison with other engines; its JSON and its exit status."""
    done = subprocess.run([sys.executable, "-m", "bench.peers", "--json"], check=False, stdout=subprocess.PIPE)
    if not done.stdout:
        raise SystemExit(f"bench: the comparison with other engines gave no results (exit status {done.returncode})")
    return json.loads(done.stdout), done.returncode


def table(found: dict[str, Any], peers: dict[str, Any] | None = None) -> str:
    """The table of a run, with the machine it was made on, then the comparison with other engines."""
    machine = found["machine_info"]
    cpu = machine["cpu"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        f"Measured {found['datetime'][:10]} on {cpu.get('brand_raw', machine['machine'])}, {cpu['count']} cores,"
        f" {machine['system']}; {versions}.",
        "",
        "| what | measured | target |",
        "|---|---|---|",
    ]
    rows = [row for benchmark in found["benchmarks"] for row in benchmark["extra_info"].get("rows", ())]
    for row in rows + (peers["rows"] if peers is not None else []):
        missed = "" if row["met"] else " **missed**"
        lines.append(f"| {row['what']} | {row['measured']} | {row['target']}{missed} |")
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Put `text` between the markers of a file."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path}: has no {BEGIN} … {END} to write between; nothing is changed")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main(arguments: list[str] | None = None) -> int:
    """0, or the exit status of what failed; a table that misses a target is still written."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="The table of measured numbers.")
    parser.add_argument("files", nargs="*", help="what to run (default: bench, and the peers)")
    parser.add_argument("--json", type=Path, help="results to read instead of running")
    parser.add_argument("--peers", type=Path, help="results of the peers to read instead of running")
    parser.add_argument("--write", type=Path, help="replace the table in this file")
    options = parser.parse_args(arguments)
    found, code = (json.loads(options.json.read_text()), 0) if options.json else measure(options.files or ["bench"])
    peers, peers_code = None, 0
    if options.peers:
        peers = json.loads(options.peers.read_text())
    elif not options.files and not options.json:
        peers, peers_code = measure_peers()
    text = table(found, peers)
    print(text)
    if options.write is not None:
        write(options.write, text)
    return code or peers_code


if __name__ == "__main__":
    sys.exit(main())
