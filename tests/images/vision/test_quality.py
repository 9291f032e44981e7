"""The measures of a picture are those that are taken at full size, in double precision."""

import json
from pathlib import Path

import pytest

from tests.images.vision.analysis import run_script


@pytest.fixture(scope="module")
def off(clips: Path) -> dict[str, float]:
    told: dict[str, float] = json.loads(run_script("compare_quality.py", clips))
    return told


@pytest.mark.parametrize("measure", ["brightness", "contrast", "sharpness"])
def test_measures_are_within_one_percent(off: dict[str, float], measure: str) -> None:
    assert off[measure] < 0.01


def test_colors_are_those_of_the_whole_picture(off: dict[str, float]) -> None:
    assert off["colors"] < 16


def test_sharpness_at_half_the_size_would_be_another_measure(off: dict[str, float]) -> None:
    assert off["halved"] > 0.1
