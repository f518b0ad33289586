"""A picture of `rooney status`, taken while a demo runs: `python -m bench.picture docs/status.svg`.

The demo's session is played at SPEED times its pace; the picture is of the first moment at which a strategy holds a
position and nothing needs a person. Exit status 1: there was no such moment, and nothing was written.
"""

import os
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path

SPEED = 120
LOOKS_S = 240.0  # how long to look for the moment
COLUMN, LINE, MARGIN = 7.8, 18, 16  # pixels


def svg(text: str, title: str) -> str:
    """A terminal's screen as a drawing; one `text` element a line, in whatever monospaced font there is."""
    lines = [f"$ {title}", *text.rstrip().splitlines()]
    width = round(max(len(line) for line in lines) * COLUMN + 2 * MARGIN)
    height = len(lines) * LINE + 2 * MARGIN
    size = f'width="{width}" height="{height}"'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size}>',
        f"<title>{escape(title)}</title>",
        f'<rect {size} rx="8" fill="#14181d"/>',
        '<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13" fill="#d7dde4">',
    ]
    for number, line in enumerate(lines):
        shown = escape(line).replace(" ", "\u00a0")  # viewers fold plain spaces
        drawn.append(f'<text x="{MARGIN}" y="{MARGIN + LINE * (number + 0.75):g}">{shown}</text>')
    return "\n".join([*drawn, "</g>", "</svg>\n"])


def look(folder: Path) -> tuple[int, str]:
    """Exit status and screen of `rooney status` on the demo that runs in a folder."""
    (run,) = [path.parent for path in folder.glob("rooney-*/config.multi_alpha.yml")]
    argv = [
        "status",
        "--config",
        str(run / "config.multi_alpha.yml"),
        "--state-directory",
        str(run),
        "--clock",
        "replay",
    ]
    done = subprocess.run([sys.executable, "-m", "rooney", *argv], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def main(path: Path) -> int:
    """0 once the picture is written."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        demo = subprocess.Popen(
            [sys.executable, "-m", "rooney", "demo", "--speed", str(SPEED)],
            env=os.environ | {"TMPDIR": folder},
            stdout=subprocess.DEVNULL,
        )
        try:
            end = time.monotonic() + LOOKS_S
            while demo.poll() is None and time.monotonic() < end:
                time.sleep(2)
                if not list(Path(folder).glob("rooney-*/*/ledger.sqlite")):
                    continue
                code, screen = look(Path(folder))
                print(screen, file=sys.stderr)
                if code == 0 and "+1" in screen:
                    path.write_text(svg(screen, "rooney status"), encoding="utf-8")
                    return 0
        finally:
            demo.terminate()
            demo.wait()
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
