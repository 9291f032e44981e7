"""The proof of a device, computed on the CPU in place of a GPU."""

import json

import pytest

from tests.images.audio.sounds import IMAGE, TESTS
from tests.stage_container import read_only, run_program


@pytest.fixture(scope="module")
def proven():
    ended = run_program(IMAGE, ["python", "/tests/prove_numbers.py"], read_only(TESTS, "/tests"))
    assert ended.exit_code == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_smaller_compute_type_passes_where_it_computes_right(proven):
    assert 0 < proven["int8"] < 0.04
    assert proven["float32"] == 0


@pytest.mark.parametrize(
    "corruption",
    ["another model", "shifted by one", "all zeros", "one vector lost", "one number wrong", "not a number"],
)
def test_corrupted_numbers_are_refused_as_a_broken_device(proven, corruption):
    told = proven["told"][corruption]
    assert told.startswith("broken: ")
    assert "take the device out of service" in told
