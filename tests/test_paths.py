"""Places on this machine: whatever names the state directory names the control folder with it."""

from pathlib import Path

import pytest

from rooney.paths import control_directory, has_units, state_directory

COPY, OTHER, CONTROL = Path("/srv/copy"), Path("/srv/other"), Path("/srv/control")
STATE_IN, CONTROL_IN = "ROONEY_STATE_DIRECTORY", "ROONEY_CONTROL_DIRECTORY"


@pytest.mark.parametrize(
    ("given", "environ", "state", "control"),
    [
        (None, {}, Path("/var/lib/rooney"), Path("/var/lib/rooney/control")),
        (COPY, {}, COPY, COPY / "control"),
        (COPY, {STATE_IN: str(OTHER), CONTROL_IN: str(CONTROL)}, COPY, COPY / "control"),
        (None, {STATE_IN: str(OTHER)}, OTHER, OTHER / "control"),
        (None, {CONTROL_IN: str(CONTROL)}, Path("/var/lib/rooney"), CONTROL),
        (None, {STATE_IN: "", CONTROL_IN: ""}, Path("/var/lib/rooney"), Path("/var/lib/rooney/control")),
    ],
)
def test_control_goes_with_the_state_directory_and_the_environment_overrides_no_option(
    given: Path | None, environ: dict[str, str], state: Path, control: Path
) -> None:
    assert (state_directory(given, environ), control_directory(given, environ)) == (state, control)


def test_units_work_in_the_installed_state_directory_alone() -> None:
    assert [has_units(each) for each in (None, Path("/var/lib/../lib/rooney"), COPY)] == [True, True, False]
