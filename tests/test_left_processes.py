"""The check of this test suite that no test leaves a process behind."""

import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

INNER = """
import os, subprocess, sys, time
import pytest

def sleeper(**options):
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], **options)

def orphan(path):
    code = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    subprocess.run([sys.executable, "-c", code + f"open({str(path)!r}, 'w').write(str(p.pid))"], check=True)

@pytest.fixture(scope="module")
def server():
    with sleeper() as process:
        yield process
        process.kill()

@pytest.fixture(scope="session")
def whole():
    with sleeper() as process:
        yield process
        process.kill()

@pytest.fixture(scope="module")
def part(request):
    return request.getfixturevalue("whole")

def test_leaves_one_and_fails(tmp_path):
    process = sleeper()
    (tmp_path / "pid").write_text(str(process.pid))
    assert False

def test_leaves_an_orphan(tmp_path):
    orphan(tmp_path / "pid")

def test_ends_its_own():
    with sleeper() as process:
        process.kill()

def test_uses_one_that_lasts(server):
    assert server.poll() is None

def test_uses_it_too(server, part):
    assert server.poll() is part.poll() is None
"""


def test_a_process_that_a_test_leaves_behind_is_an_error_of_that_test_and_is_killed(tmp_path: Path) -> None:
    inner = tmp_path / "test_inner.py"
    inner.write_text(INNER)
    options = ["-q", "-p", "tests.support.left_processes", "--basetemp", str(tmp_path / "base"), "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", str(inner), "--rootdir", str(tmp_path), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "1 failed, 4 passed, 2 errors" in done.stdout, done.stdout
    pids = {path.read_text() for path in (tmp_path / "base").glob("*/pid")}
    assert len(pids) == 2
    for pid in pids:
        assert f"{pid}: " in done.stdout
        state = Path(f"/proc/{pid}/stat")
        assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
