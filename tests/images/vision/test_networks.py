"""The networks in the image find what the libraries they come from find in float32, on real pictures.

What is wrong on purpose is refused by the same measures.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.images.vision.analysis import run_script
from tests.images.vision.reference import reference_image

Findings = Mapping[str, Sequence[Any]]

LEAST_SCORE = 0.995
LEAST_COSINE = 0.999
LEAST_OVERLAP = 0.5
COMPUTE_TYPES = ("float32", "bfloat16", "int8_bfloat16")
WRONG = ("mirrored colours", "other sizes")


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Findings]:
    folder = tmp_path_factory.mktemp("findings")
    run_script("reference_findings.py", folder, reference_image())
    run_script("our_findings.py", folder, reference_image())
    run_script("our_findings.py", folder)
    return {file.stem: json.loads(file.read_text()) for file in folder.glob("*.json")}


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes given by their corners."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


def agreement(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """F1 over all pictures: a finding agrees with one of the same label that it overlaps by half, each but once."""
    pairs = 0
    for ours, theirs in zip(found, expected, strict=True):
        left = list(theirs)
        for each in ours:
            same = [other for other in left if other["label"] == each["label"]]
            best = max(same, key=lambda other: overlap(each["corners"], other["corners"]), default=None)
            if best and overlap(each["corners"], best["corners"]) >= LEAST_OVERLAP:
                left.remove(best)
                pairs += 1
    return 2 * pairs / (sum(map(len, found)) + sum(map(len, expected)))


def lowest_cosine(found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> float:
    return min(
        sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)
        for one, other in zip(found, expected, strict=True)
    )


def test_there_is_enough_to_find(findings: dict[str, Findings]) -> None:
    assert sum(map(len, findings["reference"]["boxes"])) > 200
    assert sum(map(len, findings["reference"]["lines"])) > 40


@pytest.mark.parametrize("name", [*COMPUTE_TYPES, "torch"])
def test_the_same_objects_are_found(findings: dict[str, Findings], name: str) -> None:
    assert agreement(findings[name]["boxes"], findings["reference"]["boxes"]) >= LEAST_SCORE


@pytest.mark.parametrize("name", [*COMPUTE_TYPES, "torch"])
def test_vectors_point_the_same_way(findings: dict[str, Findings], name: str) -> None:
    assert lowest_cosine(findings[name]["vectors"], findings["reference"]["vectors"]) >= LEAST_COSINE


@pytest.mark.parametrize("name", [*COMPUTE_TYPES, "torch"])
def test_the_same_lines_are_read(findings: dict[str, Findings], name: str) -> None:
    assert agreement(findings[name]["lines"], findings["reference"]["lines"]) >= LEAST_SCORE


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused(findings: dict[str, Findings], name: str) -> None:
    assert agreement(findings[name]["boxes"], findings["reference"]["boxes"]) < LEAST_SCORE
    assert lowest_cosine(findings[name]["vectors"], findings["reference"]["vectors"]) < LEAST_COSINE
    assert agreement(findings[name]["lines"], findings["reference"]["lines"]) < LEAST_SCORE


def test_close_calls_must_be_settled(findings: dict[str, Findings]) -> None:
    assert agreement(findings["close calls left open"]["boxes"], findings["reference"]["boxes"]) < LEAST_SCORE
