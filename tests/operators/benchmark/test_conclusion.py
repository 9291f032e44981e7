"""What a benchmark finds, from the files of its containers to Postgres and back."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from operators.benchmark import store
from operators.benchmark.conclusion import conclude, timings_of
from operators.benchmark.figures import TOTAL
from operators.benchmark.plan import BENCHMARK_DAG_ID, VariantChoice, steps
from operators.benchmark.records import BenchmarkFolder
from operators.benchmark.report import export, write_comparison, write_markdown, write_timings
from operators.benchmark.store import BenchmarkOutcome, VariantOutcome
from operators.errors import ChoiceInvalid, ShardMissing
from operators.shard import RunFolder
from operators.timings import RunStart, begin_run
from stage_contract.vocabulary import Phase, PhaseOutcome, Stage
from tests.operators.benchmark.made import (
    ASSET,
    FLOAT32,
    INT8,
    MACHINE,
    SPEECH,
    made_benchmark,
    made_plan,
    phase,
    record,
)
from tests.operators.sample_results import speaking

WRONG = speaking("something else altogether", "that nobody has said")


def test_what_was_measured_comes_back_from_the_database(media_database: Engine, tmp_path: Path) -> None:
    found = made_benchmark(media_database, tmp_path, made_plan(), seconds={"float32": 10, "int8": 4})
    assert found.header.outcome is BenchmarkOutcome.DONE
    assert [one.outcome for one in found.measured.variants] == [VariantOutcome.MEASURED] * 2
    assert found.header.media[0].duration_s == 8.0
    assert store.read(media_database, found.header.benchmark_id).variants == found.measured.variants
    assert store.read_figures(media_database, found.header.benchmark_id) == found.measured.figures
    stored = store.read(media_database, found.header.benchmark_id)
    assert sorted(map(str, stored.timings)) == sorted(map(str, found.measured.timings))
    assert sorted(map(str, stored.checks)) == sorted(map(str, found.measured.checks))
    totals = {one.variant: one for one in found.measured.figures if one.phase == TOTAL}
    assert totals[0].n == 3
    assert totals[0].median_s == pytest.approx(10.502)
    assert totals[1].median_s == pytest.approx(4.502)


def test_phases_side_by_side_count_once_in_the_total_and_the_containers_start_not_at_all() -> None:
    plan = made_plan()
    made = record(plan, steps(plan)[0], 1.0, {})
    phases = (
        phase(Phase.CONTAINER_START, 0.4),
        phase(Phase.MODEL_LOAD, 0.5, None, 0.4),
        phase(Phase.DECODE, 3.0, ASSET, 1.0),
        # In turns: it worked for less time than it went on.
        phase(Phase.TRANSCRIPTION, 2.0, ASSET, 1.5).model_copy(update={"span_s": 3.5}),
        phase(Phase.WRITE, 9.0, ASSET, 20.0).model_copy(update={"outcome": PhaseOutcome.FAILED}),
    )
    seconds = {one.phase: one.seconds for one in timings_of(made.model_copy(update={"phases": phases}))}
    assert seconds == {"container_start": 0.4, "model_load": 0.5, "decode": 3.0, "transcription": 2.0, TOTAL: 4.5}


def test_a_variant_that_is_fast_but_wrong_is_marked_with_what_failed(media_database: Engine, tmp_path: Path) -> None:
    found = made_benchmark(
        media_database, tmp_path, made_plan(), seconds={"float32": 10, "int8": 1}, says={"int8": WRONG}
    )
    reference, fast = found.measured.variants
    assert (reference.outcome, fast.outcome) == (VariantOutcome.MEASURED, VariantOutcome.WRONG)
    assert "audio.transcribe of archive/aaa.mp4: word error rate" in fast.message
    assert "allowed is at most 0.1" in fast.message
    assert "int8 is wrong" in found.header.message


def test_a_variant_that_fails_leaves_the_others_measured(media_database: Engine, tmp_path: Path) -> None:
    found = made_benchmark(media_database, tmp_path, made_plan(), fails={"int8": "out of memory"})
    assert found.measured.variants[1].outcome is VariantOutcome.FAILED
    assert found.measured.variants[1].message == "audio.transcribe: out of memory"
    assert {one.variant for one in found.measured.figures} == {0}


def test_without_its_reference_a_variant_is_held_against_nothing(media_database: Engine, tmp_path: Path) -> None:
    found = made_benchmark(media_database, tmp_path, made_plan(), fails={"float32": "no kernels"})
    assert found.measured.checks == ()
    assert found.measured.variants[1].outcome is VariantOutcome.MEASURED
    assert "speed-up" in write_markdown(found.header, found.measured)


def test_the_run_is_over_and_nothing_is_published(media_database: Engine, tmp_path: Path) -> None:
    made_benchmark(media_database, tmp_path, made_plan())
    with media_database.connect() as connection:
        assert connection.execute(text("select outcome from processing_run")).scalar_one() == "done"
        assert connection.execute(text("select outcome from run_item")).scalar_one() == "done"
        for table in ("stage_result", "phase_timing", "stage_attempt", "transcript"):
            assert connection.execute(text(f"select count(*) from {table}")).scalar_one() == 0  # noqa: S608 - ours


def test_slower_than_a_named_baseline_is_a_regression(media_database: Engine, tmp_path: Path) -> None:
    made_benchmark(media_database, tmp_path, made_plan(name="before"), seconds={"float32": 10, "int8": 4}, run_id="1")
    plan = made_plan(baseline="before")
    found = made_benchmark(media_database, tmp_path, plan, seconds={"float32": 10, "int8": 5}, run_id="2")
    assert found.header.outcome is BenchmarkOutcome.REGRESSED
    assert {(one.variant, one.phase) for one in found.regressions} == {("int8", "transcription"), ("int8", TOTAL)}
    assert "slower than baseline 'before': int8, audio.transcribe, transcription: 5 s, was 4 s" in found.header.message


def test_as_fast_as_the_marked_baseline_is_none(media_database: Engine, tmp_path: Path) -> None:
    first = made_benchmark(media_database, tmp_path, made_plan(name="before"), run_id="1")
    assert store.mark(media_database, first.header.benchmark_id, first.header.started_at, "ada") == "before"
    found = made_benchmark(media_database, tmp_path, made_plan(), run_id="2")
    assert found.header.baseline_id == first.header.benchmark_id
    assert (found.header.outcome, found.header.message) == (BenchmarkOutcome.DONE, "no slower than baseline 'before'")


def test_one_benchmark_is_marked_at_a_time(media_database: Engine, tmp_path: Path) -> None:
    first, second = (made_benchmark(media_database, tmp_path, made_plan(name=n), run_id=n).header for n in ("x", "y"))
    for one in (first, second):
        store.mark(media_database, one.benchmark_id, one.started_at, "ada")
    marked = [store.find(media_database, one.benchmark_id) for one in (first, second)]
    assert [one.marked_by if one else "" for one in marked] == [None, "ada"]
    assert store.mark(media_database, 999, first.started_at, "ada") is None
    store.unmark(media_database)
    assert store.find_baseline(media_database, None, "d", "r") is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"assets": ("b" * 64,)}, "it was of other media"),
        ({"machine": replace(MACHINE, cpu="Another CPU")}, "it ran on another machine"),
        ({"plan": made_plan(repeats=2)}, "both need 3 rounds or more"),
    ],
)
def test_what_cannot_be_compared_is_not_and_says_why(
    media_database: Engine, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    first = made_benchmark(media_database, tmp_path, made_plan(name="before"), run_id="1")
    store.mark(media_database, first.header.benchmark_id, first.header.started_at, "ada")
    plan = change.pop("plan", made_plan())
    found = made_benchmark(
        media_database,
        tmp_path,
        plan,  # type: ignore[arg-type]
        seconds={"float32": 99, "int8": 99},
        run_id="2",
        **change,  # type: ignore[arg-type]
    )
    assert found.regressions == ()
    assert f"not held against baseline 'before': {reason}" in found.header.message


def test_a_baseline_that_does_not_exist_is_refused(media_database: Engine, tmp_path: Path) -> None:
    with pytest.raises(ChoiceInvalid, match="none is called 'nothing'"):
        made_benchmark(media_database, tmp_path, made_plan(baseline="nothing"))


def test_a_run_that_is_cleared_is_measured_anew_under_the_same_number(media_database: Engine, tmp_path: Path) -> None:
    first = made_benchmark(media_database, tmp_path, made_plan(), seconds={"float32": 10})
    again = made_benchmark(media_database, tmp_path, made_plan(FLOAT32), seconds={"float32": 3})
    assert again.header.benchmark_id == first.header.benchmark_id
    assert len(store.read(media_database, first.header.benchmark_id).variants) == 1


def test_without_media_there_is_nothing_to_compare(media_database: Engine, tmp_path: Path) -> None:
    first = made_benchmark(media_database, tmp_path, made_plan()).header
    begin_run(media_database, RunStart("d", "r", {}, first.started_at, first.started_at))
    with pytest.raises(ShardMissing):
        conclude(media_database, BenchmarkFolder(RunFolder(tmp_path, "d", "r")), "d", "r")
    with media_database.connect() as connection:
        asked = text("select outcome from processing_run where dag_id = 'd'")
        assert connection.execute(asked).scalar_one() == "failed"


def test_the_files_hold_every_row_and_the_report_what_was_found(media_database: Engine, tmp_path: Path) -> None:
    found = made_benchmark(
        media_database, tmp_path, made_plan(), seconds={"float32": 10, "int8": 4}, says={"int8": WRONG}
    )
    folder = RunFolder(tmp_path, BENCHMARK_DAG_ID, "run").path
    export(folder, found.header, found.measured)
    report = (folder / "benchmark.md").read_text()
    assert "Sample CPU, 2 cores, 2 for a container; no GPU" in report
    assert "| in all | 10.50 [10.50, 10.50] n=3 | 4.50 [4.50, 4.50] n=3 | 2.33 |" in report
    assert "| int8 | audio.transcribe | word error rate |" in report
    assert (folder / "timings.csv").read_text().count("\n") == 1 + len(found.measured.timings)
    comparison = write_comparison(found.header, found.measured)
    assert f"int8,wrong,{Stage.TRANSCRIBE},total,3," in comparison
    assert ASSET in (folder / "checks.csv").read_text()


def test_text_from_outside_neither_ends_a_cell_nor_begins_a_formula(media_database: Engine, tmp_path: Path) -> None:
    variants = FLOAT32, VariantChoice(name="+int8", stages=INT8.stages, compute_type="int8")
    plan = made_plan(*variants, name="<img src=x> | \n# b")
    found = made_benchmark(media_database, tmp_path, plan, says={"+int8": SPEECH})
    report = write_markdown(found.header, found.measured)
    assert report.splitlines()[0] == "# Benchmark &lt;img src=x> \\| \\n# b"
    assert "'+int8" in write_timings(found.header, found.measured)
