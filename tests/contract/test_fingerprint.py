"""`stage_contract.fingerprint`: the same decisions give the same name, any other decision another."""

from typing import TypedDict, Unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from stage_contract.fingerprint import FINGERPRINT_HEX_DIGITS, fingerprint
from stage_contract.models import ModelRef
from stage_contract.vocabulary import Stage

WHISPER = ModelRef(role="whisper", name="base.en", revision="1", sha256="aa", licence="MIT")
VAD = ModelRef(role="vad", name="silero", revision="5", sha256="bb", licence="MIT")


class Decisions(TypedDict, total=False):
    """What a fingerprint is made from."""

    stage: Stage
    stage_version: str
    models: tuple[ModelRef, ...]
    compute_type: str
    parameters: dict[str, JsonValue]
    inputs: dict[Stage, str]


def name(**changed: Unpack[Decisions]) -> str:
    """The fingerprint of a usual request with some decisions changed."""
    return fingerprint(
        changed.get("stage", Stage.TRANSCRIBE),
        changed.get("stage_version", "1"),
        changed.get("models", (WHISPER, VAD)),
        changed.get("compute_type", "int8"),
        changed.get("parameters", {"language": None, "beam_size": 5}),
        changed.get("inputs", {Stage.PROBE: "0" * 24, Stage.EXTRACT: "1" * 24}),
    )


def test_a_fingerprint_stays_the_same_over_releases() -> None:
    # Results are found by this name: another value here would recompute every archive.
    assert name() == "72f2b44c1601d97f7f238ebb"


def test_order_does_not_matter() -> None:
    parameters: dict[str, JsonValue] = {"beam_size": 5, "language": None}
    inputs = {Stage.EXTRACT: "1" * 24, Stage.PROBE: "0" * 24}
    assert name(models=(VAD, WHISPER), parameters=parameters, inputs=inputs) == name()


def test_a_models_licence_does_not_matter() -> None:
    assert name(models=(WHISPER.model_copy(update={"licence": "MIT-0"}), VAD)) == name()


@pytest.mark.parametrize(
    "changed",
    [
        Decisions(stage=Stage.ENRICH),
        Decisions(stage_version="2"),
        Decisions(compute_type="float16"),
        Decisions(models=(WHISPER,)),
        Decisions(models=(WHISPER.model_copy(update={"name": "large-v3"}), VAD)),
        Decisions(models=(WHISPER.model_copy(update={"revision": "2"}), VAD)),
        Decisions(models=(WHISPER.model_copy(update={"sha256": "ab"}), VAD)),
        Decisions(parameters={"language": "en", "beam_size": 5}),
        Decisions(parameters={"language": None}),
        Decisions(inputs={Stage.PROBE: "0" * 24}),
        Decisions(inputs={Stage.PROBE: "0" * 24, Stage.EXTRACT: "2" * 24}),
    ],
)
def test_every_decision_matters(changed: Decisions) -> None:
    assert name(**changed) != name()


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()))
def test_any_parameters_give_a_name_that_fits_a_path(parameters: dict[str, JsonValue]) -> None:
    digits = name(parameters=parameters)
    assert len(digits) == FINGERPRINT_HEX_DIGITS
    assert set(digits) <= set("0123456789abcdef")
