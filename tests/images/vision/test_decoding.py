"""The pictures and the shots are those that every frame, decoded and compared, gives; most frames are not decoded."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.images.vision.analysis import run_script

FLASH_S = 1.0
CUTS_S = [1.8, 3.48, 4.12, 5.64]
MOST_DECODED = {
    "moving.mp4": 170,
    "moving on.mp4": 250,
    "moving open.mkv": 150,
    "moving.mkv": 150,
    "moving.avi": 70,
    "moving.mov": 70,
}
"""Of 200 frames, at three samples a second and four cuts, those counted that are decoded a second time."""


@pytest.fixture(scope="module")
def compared(clips: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run_script("compare_decoding.py", clips))
    return told


@pytest.mark.parametrize("clip", MOST_DECODED)
def test_what_is_left_out_changes_no_picture_and_no_shot(compared: dict[str, Any], clip: str) -> None:
    everything, stage = compared[clip]["all frames"], compared[clip]["stage"]
    assert everything["starts"] == [0.0, FLASH_S, *CUTS_S]
    assert stage["starts"] == [0.0, *CUTS_S]
    assert stage["same_pictures"]
    assert stage["samples"] == everything["samples"] == 24
    assert stage["frames"] <= MOST_DECODED[clip]


@pytest.mark.parametrize("clip", ["moving.mkv", "moving.avi", "moving.mov"])
def test_a_cut_would_be_late_if_what_was_left_out_were_not_asked_for(compared: dict[str, Any], clip: str) -> None:
    assert compared[clip]["nothing_asked_for"]["starts"] != [0.0, *CUTS_S]


@pytest.mark.parametrize("clip", ["moving open.mkv", "moving.mkv"])
def test_a_picture_would_differ_if_it_were_decoded_without_its_references(compared: dict[str, Any], clip: str) -> None:
    assert not compared[clip]["references_left_out"]["same_pictures"]
