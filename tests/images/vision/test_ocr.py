"""A picture is read again exactly when it shows something else."""

from pathlib import Path

from tests.images.vision.analysis import run_script


def test_one_changed_digit_is_read_again_and_noise_is_not(tmp_path: Path) -> None:
    told = run_script("read_again.py", tmp_path)
    assert told.splitlines() == [
        "same True",
        "compression noise True",
        "one digit False",
        "text gone False",
        "another size False",
    ]
