"""What a benchmark measures, and in which order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.benchmark.plan import (
    MEASURED_STAGES,
    BenchmarkPlan,
    Setting,
    VariantChoice,
    preparation,
    read_plan,
    refuse_absent_gpu,
    setting,
    steps,
)
from operators.errors import ChoiceInvalid
from operators.gpu.configuration import GpuConfiguration
from stage_contract.vocabulary import Stage, Variant

FLOAT32: dict[str, Any] = {"name": "float32", "stages": ["audio.transcribe"], "compute_type": "float32"}
INT8: dict[str, Any] = {"name": "int8", "stages": ["audio.transcribe"], "compute_type": "int8"}


def plan(*variants: dict[str, Any], **more: Any) -> BenchmarkPlan:
    return read_plan({"variants": list(variants), "repeats": 3, **more}, "run")


def test_each_round_begins_with_another_variant() -> None:
    order = [(step.round, step.variant) for step in steps(plan(FLOAT32, INT8))]
    assert order == [(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1), (3, 1), (3, 0)]


@given(st.integers(1, 8), st.integers(1, 20))
def test_every_variant_is_measured_once_in_every_round(variants: int, repeats: int) -> None:
    named = tuple(VariantChoice(name=str(place), stages=(Stage.TRANSCRIBE,)) for place in range(variants))
    found = steps(BenchmarkPlan(name="b", variants=named, repeats=repeats))
    expected = [(number, place) for number in range(repeats + 1) for place in range(variants)]
    assert sorted((step.round, step.variant or 0) for step in found) == expected
    assert len({step.key for step in found}) == len(found)


def test_what_a_stage_reads_is_measured_before_it() -> None:
    only = plan({"name": "names", "stages": ["nlp.enrich"]})
    assert [step.stage for step in steps(only)][:2] == [Stage.TRANSCRIBE, Stage.ENRICH]
    assert [step.stage for step in preparation(only)] == [Stage.PROBE, Stage.EXTRACT]


def test_pictures_need_no_sound() -> None:
    only = plan({"name": "pictures", "stages": ["vision.analyze"]})
    assert [step.stage for step in preparation(only)] == [Stage.PROBE]


def test_the_reference_of_a_stage_is_the_first_variant_that_has_it() -> None:
    both = plan(FLOAT32, {"name": "pictures", "stages": ["vision.analyze"]}, INT8)
    assert [both.reference(stage) for stage in both.stages] == [0, 1]


def test_what_is_not_said_is_as_in_production_and_the_least_batch_on_a_gpu() -> None:
    chosen = VariantChoice(name="gpu", stages=(Stage.ANALYZE, Stage.ENRICH), device=Variant.CUDA)
    assert setting(chosen, Stage.ANALYZE) == Setting(Variant.CUDA, "float16", 8)
    assert setting(chosen, Stage.ENRICH) == Setting(Variant.CPU, "float32", 1)


def test_a_batch_size_reaches_the_stages_that_compute_in_batches() -> None:
    chosen = VariantChoice(name="all", stages=MEASURED_STAGES, batch_size=32)
    assert setting(chosen, Stage.ANALYZE).batch_size == 32
    assert setting(chosen, Stage.TRANSCRIBE).batch_size == 32
    assert setting(chosen, Stage.ENRICH).batch_size == 1


@pytest.mark.parametrize(
    ("variants", "rule"),
    [
        ([], "list of 1 to 8"),
        ([FLOAT32] * 9, "list of 1 to 8"),
        ([FLOAT32, FLOAT32], "name of its own"),
        ([{**FLOAT32, "stages": ["media.probe"]}], "stages to measure are audio.transcribe"),
        ([{**FLOAT32, "stages": ["audio.sing"]}], "stages.0 of a variant is invalid"),
        ([{**FLOAT32, "compute_typ": "int8"}], "compute_typ"),
        (
            [{**INT8, "stages": ["vision.analyze"]}],
            "vision.analyze on cpu must be one of int8_bfloat16, bfloat16, float32",
        ),
        ([{**FLOAT32, "name": "<script>"}], "name of a variant is invalid"),
        ([{**FLOAT32, "parameters": {"audio.transcribe": {"beam_size": 99}}}], "float32: beam_size: Input should be"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_rule(variants: list[Any], rule: str) -> None:
    with pytest.raises(ChoiceInvalid, match=rule):
        plan(*variants)


@pytest.mark.parametrize("repeats", [0, 21, None, "3"])
def test_the_number_of_rounds_is_bounded(repeats: object) -> None:
    with pytest.raises(ChoiceInvalid, match="repeats must be 1 to 20"):
        plan(FLOAT32, repeats=repeats)


def test_a_gpu_variant_without_a_gpu_is_refused_by_name() -> None:
    chosen = plan(FLOAT32, {"name": "on the card", "stages": ["audio.transcribe"], "device": "cuda"})
    with pytest.raises(ChoiceInvalid, match=r"on the card: none is configured.*NIGHTREEL_GPU_DEVICES"):
        refuse_absent_gpu(chosen, GpuConfiguration())


def test_a_benchmark_without_a_name_is_called_as_its_run() -> None:
    assert plan(FLOAT32).name == "run"
    assert plan(FLOAT32, name="night reel 7").name == "night reel 7"


def test_the_language_is_for_speech_alone() -> None:
    chosen = plan(FLOAT32, language="de")
    assert chosen.parameters(Stage.TRANSCRIBE, 0)["language"] == "de"
    assert "language" not in chosen.parameters(Stage.ANALYZE, None)


def test_a_variant_may_have_parameters_of_its_own() -> None:
    quick = {"name": "quick", "stages": ["audio.transcribe"], "parameters": {"audio.transcribe": {"beam_size": 1}}}
    chosen = plan(FLOAT32, quick)
    assert [chosen.parameters(Stage.TRANSCRIBE, place)["beam_size"] for place in (0, 1)] == [5, 1]
