"""The stage's recognizer, loaded without what it does not need, finds what the whole pipeline finds."""

import json
from pathlib import Path
from typing import Any

import pytest

from operators.routing import image_for
from stage_contract.vocabulary import Stage, Variant
from tests.stage_container import read_only, run_program

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """By way of loading: what is found in the texts."""
    program = read_only(HERE / "compare_recognizers.py", "/compare.py")
    texts = read_only(HERE / "speech.txt", "/speech.txt")
    ended = run_program(image_for(Stage.ENRICH, Variant.CPU), ["python", "/compare.py", "/speech.txt"], program, texts)
    assert ended.exit_code == 0, ended.stderr
    compared: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return compared


def test_entities_are_those_of_the_whole_pipeline(found: dict[str, Any]) -> None:
    assert found["ours"] == found["whole"]
    assert sum(map(len, found["whole"])) > 60


def test_a_tokenizer_without_the_models_rules_would_be_noticed(found: dict[str, Any]) -> None:
    assert found["without the model's rules"] != found["whole"]


def test_a_component_that_the_recognizer_listens_to_is_kept(found: dict[str, Any]) -> None:
    assert any(found["listening, whole"])
    assert found["listening, ours"] == found["listening, whole"]
    assert found["listening, deaf"] != found["listening, whole"]
