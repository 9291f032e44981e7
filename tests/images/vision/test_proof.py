"""The proof of a device, computed on the CPU in place of a GPU."""

import json

import pytest

from tests.images.vision.analysis import run_script
from tests.images.vision.reference import reference_image


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, str]]]:
    told: dict[str, dict[str, dict[str, str]]] = json.loads(
        run_script("prove_numbers.py", tmp_path_factory.mktemp("proof"), reference_image())
    )
    return told


def test_compute_types_of_the_cpu_pass(proven) -> None:
    assert proven["errors"]["torch.float32"] == 0
    assert 0 < proven["errors"]["torch.bfloat16"] < 0.04


@pytest.mark.parametrize("exercise", ["product", "convolution", "attention"])
@pytest.mark.parametrize("corruption", ["shifted by one", "one number wrong", "not a number"])
def test_corrupted_numbers_are_refused_as_a_broken_device(proven, exercise: str, corruption: str) -> None:
    assert proven["told"][exercise]["right"] == ""
    told = proven["told"][exercise][corruption]
    assert told.startswith("broken: ")
    assert exercise in told
    assert "take the device out of service" in told
