"""What figures advise, and that nothing is advised without them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.advice import (
    LEAST_ASSETS,
    Advice,
    AdviceKind,
    BenchmarkedStage,
    BenchmarkedVariant,
    Spread,
    StageWork,
    advise,
)
from operators.benchmark.figures import TOTAL, Figure
from operators.benchmark.store import VariantOutcome
from stage_contract.vocabulary import Stage, Variant

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def work(
    variant: Variant, stage: Stage = Stage.ANALYZE, assets: int = 20, in_all_s: float | None = None, **phases: float
) -> StageWork:
    """Seconds for a minute of media, by phase, one after another unless `in_all_s` says less; overheads that are no
    matter."""
    every_s = sum(phases.values()) if in_all_s is None else in_all_s
    return StageWork(
        stage=stage,
        variant=variant,
        containers=4,
        since=SINCE,
        devices=("cpu",),
        compute_types=("float32",),
        models=("yolov8n",),
        in_all=Spread("in all", assets, every_s, every_s, every_s),
        phases=tuple(Spread(phase, assets, s, s, s) for phase, s in phases.items()),
        overheads=(Spread("model_load", 4, 2.0, 2.0, 2.0),),
        overhead_s=10.0,
        work_s=990.0,
    )


def kinds(found: list[Advice]) -> list[AdviceKind]:
    return [one.kind for one in found]


def test_without_figures_there_is_no_advice() -> None:
    assert advise([], []) == []


@given(st.integers(1, LEAST_ASSETS - 1))
def test_a_few_assets_are_no_figures(assets: int) -> None:
    cpu, gpu = work(Variant.CPU, assets=assets, clip=100.0), work(Variant.CUDA, assets=assets, clip=1.0)
    assert advise([cpu, gpu], []) == []


def test_a_stage_that_is_mostly_computed_pays() -> None:
    (found,) = advise([work(Variant.CPU, clip=9.0, decode=1.0), work(Variant.CUDA, clip=1.0, decode=1.0)], [])
    assert found.kind is AdviceKind.PAYS
    assert found.figures[0] == "CPU 10.00 s, GPU 2.00 s for a minute of media: 5.00 times as fast"
    assert found.figures[1].startswith("90%")
    assert (found.n, found.counted) == (20, "assets")


def test_a_stage_that_decodes_most_of_the_time_does_not_pay_and_says_what_binds_it() -> None:
    found = advise([work(Variant.CPU, clip=1.0, decode=9.0), work(Variant.CUDA, clip=0.1, decode=9.0)], [])
    assert found[0].kind is AdviceKind.DOES_NOT_PAY
    assert "bound by `decode`" in found[0].text
    assert "on the GPU `decode` takes 9.00 s a minute" in found[0].figures


def test_a_gpu_that_computes_hardly_faster_is_busy_moving_data() -> None:
    found = advise([work(Variant.CPU, clip=9.0, decode=1.0), work(Variant.CUDA, clip=8.0, decode=1.0)], [])
    assert kinds(found) == [AdviceKind.DOES_NOT_PAY, AdviceKind.TRY]
    assert "moving data and starting kernels" in found[0].text
    assert "twice the batch" in found[1].text
    assert "what the GPU computes is only 1.12 times as fast there" in found[0].figures


def test_without_a_gpu_the_share_of_compute_bounds_what_one_could_bring() -> None:
    (much,) = advise([work(Variant.CPU, clip=9.0, decode=1.0)], [])
    (little,) = advise([work(Variant.CPU, clip=1.0, ocr=9.0)], [])
    assert much.kind is AdviceKind.TRY
    assert "at most 10.0 times as fast" in much.figures[0]
    assert little.kind is AdviceKind.DOES_NOT_PAY


def test_a_stage_without_a_gpu_build_is_not_advised_to_take_one() -> None:
    assert advise([work(Variant.CPU, Stage.EXTRACT, extract=9.0)], []) == []


def test_containers_that_load_models_most_of_the_time_ask_for_larger_shards() -> None:
    one = replace(work(Variant.CPU, Stage.ENRICH, entities=1.0), overhead_s=50.0, work_s=50.0)
    (found,) = advise([one], [])
    assert (found.kind, found.n, found.counted) == (AdviceKind.TRY, 4, "containers")
    assert "9.0 times as large" in found.text
    assert "`model_load` takes 2.00 s of each container" in found.figures


@pytest.mark.parametrize(("peak_mib", "is_tried"), [(3_000, True), (5_000, False), (None, False)])
def test_a_second_process_is_tried_where_the_gpu_idles_and_both_fit(peak_mib: int | None, is_tried: bool) -> None:
    gpu = replace(work(Variant.CUDA, clip=1.0, decode=9.0), peak_vram_mib=peak_mib, capacity_mib=8_000)
    texts = [one.text for one in advise([gpu], [])]
    assert any("second process" in text for text in texts) is is_tried


def test_a_phase_that_few_assets_have_counts_for_few() -> None:
    one = work(Variant.CPU, Stage.TRANSCRIBE, transcription=1.0)
    rare = replace(one, phases=(*one.phases, Spread("language_detection", 2, 10.0, 10.0, 10.0)))
    assert rare.phases_s(["transcription", "language_detection"]) == 2.0


def test_the_gain_is_that_of_the_time_that_passed_where_phases_go_on_side_by_side() -> None:
    cpu = work(Variant.CPU, in_all_s=10.0, clip=9.0, decode=9.0)
    gpu = work(Variant.CUDA, in_all_s=9.5, clip=1.0, decode=9.0)
    found = advise([cpu, gpu], [])[0]
    assert found.kind is AdviceKind.DOES_NOT_PAY
    assert found.figures[0] == "CPU 10.00 s, GPU 9.50 s for a minute of media: 1.05 times as fast"
    assert found.figures[1].startswith("90%")


def test_no_phase_is_named_as_what_binds_where_phases_go_on_side_by_side() -> None:
    cpu = work(Variant.CPU, in_all_s=10.0, clip=1.0, decode=7.0, ocr=5.0, quality=4.0)
    gpu = work(Variant.CUDA, in_all_s=9.2, clip=0.2, decode=7.0, ocr=5.0, quality=4.0)
    found = advise([cpu, gpu], [])[0]
    assert found.text == "It does not pay: it is bound by what stays on the CPU. Route the stage to the CPU."
    assert not any("`decode`" in figure for figure in found.figures)


@pytest.mark.parametrize(("in_all_s", "most"), [(10.0, "at most 5.0 times"), (8.0, "no bound"), (5.0, "no bound")])
def test_without_a_gpu_the_bound_is_of_the_time_that_passed(in_all_s: float, most: str) -> None:
    (found,) = advise([work(Variant.CPU, in_all_s=in_all_s, clip=8.0, decode=8.0)], [])
    assert most in found.figures[0]


def test_a_gpu_that_computes_beside_the_decoder_is_not_idle() -> None:
    one = replace(work(Variant.CUDA, in_all_s=9.0, clip=6.0, decode=9.0), peak_vram_mib=3_000, capacity_mib=8_000)
    assert advise([one], []) == []


def variant(name: str, median_s: float, compute_type: str = "float32", **more: object) -> BenchmarkedVariant:
    total = Figure(0, Stage.TRANSCRIBE, TOTAL, 5, median_s, median_s - 0.1, median_s + 0.1)
    made = BenchmarkedVariant(name, VariantOutcome.MEASURED, "", Variant.CPU, compute_type, 1, "", total)
    return replace(made, **more)  # type: ignore[arg-type]


def benchmark(*variants: BenchmarkedVariant) -> list[BenchmarkedStage]:
    return [BenchmarkedStage("b7", Stage.TRANSCRIBE, variants)]


def test_a_faster_compute_type_that_agrees_is_to_be_used() -> None:
    (found,) = advise([], benchmark(variant("float32", 10), variant("int8", 4, "int8")))
    assert (found.kind, found.n, found.counted, found.source) == (AdviceKind.USE, 5, "rounds", "b7")
    assert "compute type int8" in found.text
    assert found.figures == ("float32 10.00 s [9.90, 10.10], int8 4.00 s [3.90, 4.10]: 2.50 times as fast",)


def test_a_fast_variant_that_is_wrong_is_to_be_avoided_with_the_check_that_failed() -> None:
    wrong = variant("int8", 4, "int8", outcome=VariantOutcome.WRONG, message="word error rate 0.4")
    (found,) = advise([], benchmark(variant("float32", 10), wrong))
    assert found.kind is AdviceKind.AVOID
    assert found.figures[1] == "word error rate 0.4"


def test_what_makes_no_difference_is_left_alone_and_what_is_slower_avoided() -> None:
    same, slower = variant("b", 10.05, batch_size=2), variant("c", 20, build=Variant.CUDA)
    found = advise([], benchmark(variant("a", 10), same, slower))
    assert found[0].text == "Leave batch 2 alone: it makes no difference beyond the spread."
    assert found[1].text == "Do not use the GPU: it is slower beyond the spread."


def test_of_two_benchmarks_of_the_same_settings_the_later_counts() -> None:
    later = benchmark(variant("float32", 10), variant("int8", 4, "int8"))
    earlier = benchmark(variant("f", 10), variant("i", 40, "int8"), variant("quick", 2, parameters="beam_size 1"))
    assert [(one.kind, one.text[:15]) for one in advise([], [*later, *earlier])] == [
        (AdviceKind.USE, "Use compute typ"),
        (AdviceKind.USE, "Use beam_size 1"),
    ]


def test_two_rounds_are_no_figures() -> None:
    few = Figure(0, Stage.TRANSCRIBE, TOTAL, 2, 4, 4, 4)
    assert advise([], benchmark(variant("float32", 10), variant("int8", 4, "int8", total=few))) == []


SECONDS = st.floats(0, 1e4)
PHASES = st.dictionaries(st.sampled_from(["clip", "detection", "decode", "ocr"]), SECONDS, min_size=1)


@given(PHASES, SECONDS, PHASES, SECONDS)
def test_whatever_the_figures_every_piece_names_its_own(
    cpu: dict[str, float], cpu_s: float, gpu: dict[str, float], gpu_s: float
) -> None:
    sides = [
        replace(
            work(variant, in_all_s=every_s), phases=tuple(Spread(phase, 20, s, s, s) for phase, s in phases.items())
        )
        for variant, every_s, phases in ((Variant.CPU, cpu_s, cpu), (Variant.CUDA, gpu_s, gpu))
    ]
    for one in advise(sides, []):
        assert one.figures
        assert one.n >= LEAST_ASSETS or one.counted == "containers"
