"""`stage_contract.retreat`, and the runner when a device is out of memory."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage_contract.errors import StageError
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.retreat import Footing, footings, on_footing
from stage_contract.vocabulary import DeviceFault, ExitCode, ItemOutcome, Phase, PhaseOutcome, Stage, Variant
from tests.contract.toy_bench import Bench

SIZES = {"float32": 4, "float16": 2, "int8_float16": 1}
ASKED, SMALLER = "0" * 24, "1" * 24


def request(compute_type: str, smaller: str | None, batch_size: int, *smaller_fingerprints: str | None) -> StageRequest:
    items = tuple(
        RequestItem(
            asset_id=f"{number:064x}",
            source=f"archive/{number}.mp4",
            size_bytes=1,
            mtime_ns=1,
            fingerprint=ASKED,
            smaller_fingerprint=fingerprint,
        )
        for number, fingerprint in enumerate(smaller_fingerprints)
    )
    return StageRequest(
        stage=Stage.ANALYZE,
        task=TaskKey(dag_id="test", run_id="test", task_id="vision", try_number=1),
        variant=Variant.CUDA,
        device="GPU-1",
        need_mib=2048,
        compute_type=compute_type,
        smaller_compute_type=smaller,
        batch_size=batch_size,
        parameters={"ocr": True},
        submitted_at=datetime.now(UTC),
        items=items,
    )


@st.composite
def requests(draw: st.DrawFn) -> StageRequest:
    compute_type = draw(st.sampled_from(sorted(SIZES)))
    below = [name for name, size in SIZES.items() if size < SIZES[compute_type]]
    smaller = draw(st.sampled_from([None, *below]))
    fingerprints = [SMALLER if smaller else None] * draw(st.integers(1, 3))
    return request(compute_type, smaller, draw(st.integers(1, 1_000)), *fingerprints)


def takes_less(before: Footing, after: Footing) -> bool:
    types, batches = (SIZES[after.compute_type], SIZES[before.compute_type]), (after.batch_size, before.batch_size)
    return types[0] <= types[1] and batches[0] <= batches[1] and (types[0] < types[1] or batches[0] < batches[1])


@given(requests())
def test_each_footing_takes_less_than_the_one_before(asked: StageRequest) -> None:
    tried = footings(asked)
    assert all(takes_less(before, after) for before, after in pairwise(tried))
    assert all(footing.batch_size >= 1 for footing in tried)


@given(requests())
def test_a_request_is_tried_as_asked_then_each_way_to_be_smaller_once(asked: StageRequest) -> None:
    tried = footings(asked)
    assert tried[0] == Footing(asked.compute_type, asked.batch_size)
    assert len(tried) == 1 + (asked.batch_size > 1) + (asked.smaller_compute_type is not None)
    assert {footing.compute_type for footing in tried} == {asked.compute_type} | (
        {asked.smaller_compute_type} if asked.smaller_compute_type else set()
    )


@given(requests())
def test_results_are_named_after_what_was_computed(asked: StageRequest) -> None:
    for footing in footings(asked):
        changed = on_footing(asked, footing)
        expected = ASKED if footing.compute_type == asked.compute_type else SMALLER
        assert {item.fingerprint for item in changed.items} == {expected}
        assert Footing(changed.compute_type, changed.batch_size) == footing
        assert StageRequest.model_validate_json(changed.model_dump_json()) == changed


@given(requests())
def test_nothing_else_of_a_request_changes(asked: StageRequest) -> None:
    own = {"compute_type", "smaller_compute_type", "batch_size", "need_mib", "items"}
    for footing in footings(asked):
        changed = on_footing(asked, footing)
        assert changed.model_dump(exclude=own) == asked.model_dump(exclude=own)
        assert [item.asset_id for item in changed.items] == [item.asset_id for item in asked.items]


@given(requests())
def test_the_need_is_asked_of_the_device_only_for_what_was_asked(asked: StageRequest) -> None:
    first, *smaller = [on_footing(asked, footing) for footing in footings(asked)]
    assert first == asked
    assert all(changed.need_mib == 0 for changed in smaller)


def test_a_smaller_type_without_names_for_its_results_is_refused() -> None:
    with pytest.raises(StageError, match=r"smaller_fingerprint: 1 have none, 'archive/1\.mp4' first"):
        footings(request("float16", "int8_float16", 1, SMALLER, None))


def test_half_the_batch_goes_on_with_the_item_at_hand_and_keeps_what_is_finished(bench: Bench) -> None:
    assert bench.run("good", "memory 1", "good later", batch_size=16) == ExitCode.DONE
    assert bench.diary() == [
        *("setup none 16", "good", "memory 1"),
        *("release", "setup none 8", "memory 1", "good later"),
    ]
    assert bench.outcomes() == [ItemOutcome.DONE] * 3
    assert bench.outcome().message == "3 done; out of memory at batch 16, went on with batch 8"
    assert bench.outcome().device_fault is None
    assert [bench.result(number) is not None for number in range(3)] == [True] * 3


def test_the_smaller_type_comes_after_the_smaller_batch_and_names_its_results_so(bench: Bench) -> None:
    assert bench.run("good", "memory 2", "good later", batch_size=4, smaller="tiny") == ExitCode.DONE
    assert [line for line in bench.diary() if line.startswith("setup")] == [
        *("setup none 4", "setup none 2", "setup tiny 2")
    ]
    reports, items = bench.outcome().items, bench.items
    assert [report.fingerprint for report in reports] == [
        items[0].fingerprint,
        items[1].smaller_fingerprint,
        items[2].smaller_fingerprint,
    ]
    result = bench.smaller_result(1)
    assert result is not None
    assert result.compute_type == "tiny"
    assert bench.result(1) is None
    assert "out of memory in none, went on in tiny" in bench.outcome().message


def test_a_model_that_does_not_fit_is_loaded_smaller(bench: Bench) -> None:
    assert bench.run("good", smaller="tiny", short_setups=1) == ExitCode.DONE
    assert bench.diary() == ["setup none 1", "release", "setup tiny 1", "good"]


def test_when_nothing_smaller_is_left_the_device_is_given_up(bench: Bench) -> None:
    assert bench.run("good", "memory 9", "good later", batch_size=2, smaller="tiny") == ExitCode.DEVICE_FAILED
    outcome = bench.outcome()
    assert outcome.device_fault is DeviceFault.OUT_OF_MEMORY
    assert outcome.message == (
        "the batch must fit the device: it does not; out of memory at batch 2, went on with batch 1; "
        "out of memory in none, went on in tiny; and still out of memory in tiny at batch 1"
    )
    assert bench.outcomes() == [ItemOutcome.DONE, ItemOutcome.LEFT, ItemOutcome.LEFT]
    assert [report.fingerprint for report in outcome.items] == [item.fingerprint for item in bench.items]
    assert bench.diary().count("memory 9") == 3


def test_each_way_to_be_smaller_is_taken_once_for_the_whole_container(bench: Bench) -> None:
    assert bench.run("memory 1", "memory 1 more", batch_size=8) == ExitCode.DEVICE_FAILED
    assert bench.outcomes() == [ItemOutcome.DONE, ItemOutcome.LEFT]


def test_a_broken_device_is_not_tried_with_less(bench: Bench) -> None:
    assert bench.run("device", batch_size=8, smaller="tiny") == ExitCode.DEVICE_FAILED
    assert bench.diary() == ["setup none 8", "device"]


def test_results_of_the_smaller_type_are_reused(bench: Bench) -> None:
    bench.run("good", "memory 1", smaller="tiny")
    bench.diary_file.unlink()
    assert bench.run("good", "memory 1", smaller="tiny") == ExitCode.DONE
    assert bench.outcomes() == [ItemOutcome.REUSED, ItemOutcome.REUSED]
    assert bench.outcome().items[1].fingerprint == bench.items[1].smaller_fingerprint
    assert bench.diary() == []


def test_what_ran_out_of_memory_leaves_no_files_and_both_of_its_times(bench: Bench) -> None:
    bench.run("memory 1", smaller="tiny")
    assert [path.name for path in bench.folder(0).parent.iterdir()] == [bench.items[0].smaller_fingerprint]
    assert [record.outcome for record in bench.phases(Phase.PROBE)] == [PhaseOutcome.FAILED, PhaseOutcome.DONE]
    assert len(bench.phases(Phase.IMPORT)) == 2


def test_work_is_left_for_urgent_work_after_a_retreat_too(bench: Bench) -> None:
    assert bench.run("memory 1", "aside", "good later", batch_size=2) == ExitCode.STEPPED_ASIDE
    assert bench.outcomes() == [ItemOutcome.DONE, ItemOutcome.DONE, ItemOutcome.LEFT]
