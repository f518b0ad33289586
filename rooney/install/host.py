"""This machine: its commands, its systemd, and files written so that a reader sees them whole."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class InstallError(Exception):
    """Something the operator has to see to; what was done before it stands, and the command can be run again.

    status: exit status of the command that failed, None for any other cause
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Host:
    """say: where what was done is told, one line each."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        timeout_s: float = 900.0,
    ) -> str:
        """Output of a command. Raises InstallError with its last lines when it fails."""
        words = [str(word) for word in argv]
        try:
            done = subprocess.run(
                words,
                env=os.environ | dict(env or {}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                cwd="/",
                check=False,
                umask=0o022,
                user=user,
                group=user,
                extra_groups=[] if user else None,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InstallError(f"{words[0]}: {error}") from error
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).strip().splitlines()[-12:]
            text = "\n    ".join([f"`{' '.join(words)}` ended with {done.returncode}:", *lines])
            raise InstallError(text, done.returncode)
        return done.stdout

    def systemctl(self, *argv: str) -> str:
        """Output of systemctl; a unit that does not come up within its own time limits is an InstallError."""
        return self.run(["systemctl", *argv])

    def active(self, *patterns: str) -> list[str]:
        """Units that run or are being started, by pattern."""
        states = "--state=active,activating,reloading"
        found = self.systemctl("list-units", "--plain", "--no-legend", states, *patterns)
        return [line.split()[0] for line in found.splitlines() if line.strip()]

    def write(self, path: Path, text: str, mode: int = 0o644) -> bool:
        """A file with this text; False if it had it already."""
        if path.is_file() and path.read_text() == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.new")
        unfinished.write_text(text)
        unfinished.chmod(mode)
        os.replace(unfinished, path)
        return True

    def remove(self, path: Path) -> bool:
        """A file, link or folder gone; False if there was none."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.exists() or path.is_symlink():
            path.unlink()
        else:
            return False
        return True
