"""The ballast: when it is given up, and for how long the disk counts as full then."""

from pathlib import Path

from rooney.files import MIB
from rooney.ledger.ballast import REFILL_BYTES, SIZE_BYTES, Ballast
from tests.support.full_disk import fill, mounted


def test_a_disk_too_small_for_a_ballast_counts_as_full_only_while_it_is(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", REFILL_BYTES - MIB) as place:
        ballast = Ballast(place / "ledger.sqlite")
        ballast.lay()
        ballast.look()
        assert (ballast.path.exists(), ballast.is_short) == (False, False)
        large = fill(place)
        ballast.look()
        assert ballast.is_short
        large.unlink()
        ballast.look()
        assert (ballast.path.exists(), ballast.is_short) == (False, False)


def test_a_ballast_that_was_given_up_is_waited_for(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", REFILL_BYTES + SIZE_BYTES) as place:
        ballast = Ballast(place / "ledger.sqlite")
        ballast.lay()
        large = fill(place)
        ballast.look()
        assert (ballast.path.exists(), ballast.is_short) == (False, True)
        with large.open("r+b") as file:
            file.truncate(SIZE_BYTES + MIB)
        ballast.look()
        assert ballast.is_short
        large.unlink()
        ballast.look()
        assert (ballast.path.stat().st_blocks * 512, ballast.is_short) == (SIZE_BYTES, False)


def test_a_ballast_that_cannot_be_removed_does_not_make_a_disk_full_for_ever(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", REFILL_BYTES + SIZE_BYTES) as place:
        ballast = Ballast(place / "ledger.sqlite")
        ballast.path.mkdir()  # no `unlink` removes it, not even root's
        large = fill(place)
        ballast.look()
        assert ballast.is_short
        large.unlink()
        ballast.look()
        assert not ballast.is_short
