"""Runs, attempts and phases on a real Postgres, and what the report queries make of them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from operators.queries import query
from operators.stage_plan import AttemptOutcome
from operators.timings import (
    AttemptDetails,
    AttemptEnd,
    RunItem,
    RunItemOutcome,
    RunOutcome,
    RunStart,
    UnknownKeyError,
    begin_attempt,
    begin_run,
    describe_attempt,
    finish_attempt,
    finish_run,
    last_finished,
    record_phases,
    run_outcome,
    set_item_outcomes,
)
from stage_contract.models import ModelRef
from stage_contract.phases import PhaseRecord
from stage_contract.request import TaskKey
from stage_contract.vocabulary import ItemOutcome, Phase, PhaseOutcome, Reason, Stage, Variant

START = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
RUN = {"dag_id": "process_media", "run_id": "night"}
WHISPER = ModelRef(role="whisper", name="base.en", revision="1", sha256="0" * 64, licence="MIT")


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def task(task_id: str = "audio_transcribe", try_number: int = 1) -> TaskKey:
    return TaskKey(dag_id=RUN["dag_id"], run_id=RUN["run_id"], task_id=task_id, try_number=try_number)


def phase(
    which: Phase, at_s: float, duration_s: float, span_s: float | None = None, asset_id: str | None = None
) -> PhaseRecord:
    return PhaseRecord(
        phase=which,
        asset_id=asset_id,
        started_at=after(at_s),
        duration_s=duration_s,
        span_s=duration_s if span_s is None else span_s,
        outcome=PhaseOutcome.DONE,
        counters={"audio_s": 8.7},
        peak_rss_mib=512.5,
    )


def begin(database: Engine, queued_at: datetime | None = START) -> None:
    begin_run(database, RunStart(**RUN, parameters={"device": "cpu\0"}, queued_at=queued_at, started_at=after(1)))


def rows(database: Engine, sql: str) -> list[tuple[object, ...]]:
    with database.begin() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def test_an_attempt_is_told_from_its_start_to_its_end(media_database: Engine) -> None:
    begin(media_database)
    begin_attempt(media_database, task(), Stage.TRANSCRIBE, after(3), upstream_finished_at=after(2))
    details = AttemptDetails(variant=Variant.CPU, device="cpu", image="nightreel/audio:cpu", models=(WHISPER,))
    describe_attempt(media_database, task(), details)
    describe_attempt(media_database, task(), AttemptDetails(container_id="c1", joined_try_number=1))
    end = AttemptEnd(
        after(9), AttemptOutcome.REJECTED, 20, "no sound\0", {ItemOutcome.REJECTED: 2, ItemOutcome.DONE: 1}
    )
    finish_attempt(media_database, task(), end)

    found = rows(
        media_database,
        "select stage, variant, device, image, models #>> '{0,name}', container_id, joined_try_number, outcome, "
        "exit_code, message, items_done, items_rejected, items_left from stage_attempt",
    )
    assert found == [
        ("audio.transcribe", "cpu", "cpu", "nightreel/audio:cpu", "base.en", "c1", None, "rejected", 20,
         "no sound\ufffd", 1, 2, 0)
    ]  # fmt: skip


def test_an_attempt_that_still_runs_when_the_next_try_begins_was_lost(media_database: Engine) -> None:
    begin_attempt(media_database, task(try_number=1), Stage.TRANSCRIBE, after(3))
    begin_attempt(media_database, task("vision_analyze"), Stage.ANALYZE, after(3))
    begin_attempt(media_database, task(try_number=2), Stage.TRANSCRIBE, after(60))
    describe_attempt(media_database, task(try_number=2), AttemptDetails(joined_try_number=1))

    assert rows(
        media_database, "select task_id, try_number, outcome, joined_try_number from stage_attempt order by 1, 2"
    ) == [
        ("audio_transcribe", 1, "lost", None),
        ("audio_transcribe", 2, "running", 1),
        ("vision_analyze", 1, "running", None),
    ]


def test_an_earlier_try_that_shows_signs_of_life_does_not_end_the_later_one(media_database: Engine) -> None:
    for number in (1, 2, 1):
        begin_attempt(media_database, task(try_number=number), Stage.TRANSCRIBE, after(number))

    assert rows(media_database, "select try_number, outcome, message from stage_attempt order by 1") == [
        (1, "running", ""),
        (2, "running", ""),
    ]


def test_an_attempt_that_failed_stays_failed_when_the_next_try_begins(media_database: Engine) -> None:
    begin_attempt(media_database, task(try_number=1), Stage.TRANSCRIBE, after(3))
    finish_attempt(media_database, task(try_number=1), AttemptEnd(after(5), AttemptOutcome.DEVICE_FAILED, 40))
    begin_attempt(media_database, task(try_number=2), Stage.TRANSCRIBE, after(60))

    assert rows(media_database, "select outcome from stage_attempt where try_number = 1") == [("device_failed",)]


def test_a_try_that_goes_on_after_a_deferral_keeps_its_start(media_database: Engine) -> None:
    begin_attempt(media_database, task(), None, after(3), upstream_finished_at=after(2))
    begin_attempt(media_database, task(), None, after(30))

    assert rows(media_database, "select started_at, upstream_finished_at from stage_attempt") == [(after(3), after(2))]


def test_what_never_began_cannot_go_on(media_database: Engine) -> None:
    with pytest.raises(UnknownKeyError, match="must begin before"):
        finish_attempt(media_database, task(), AttemptEnd(after(5), AttemptOutcome.DONE))
    with pytest.raises(UnknownKeyError, match="must begin before"):
        describe_attempt(media_database, task(), AttemptDetails())
    with pytest.raises(UnknownKeyError, match="must begin before"):
        record_phases(media_database, task(), [phase(Phase.VAD, 0, 1)])
    with pytest.raises(UnknownKeyError, match="must begin before"):
        finish_run(media_database, **RUN, finished_at=after(5), outcome=RunOutcome.DONE)


def test_phases_written_twice_are_there_once(media_database: Engine) -> None:
    begin_attempt(media_database, task(), Stage.TRANSCRIBE, after(3))
    records = [
        phase(Phase.QUEUE, 0, 3),
        phase(Phase.IMPORT, 4, 0.1 + 0.2),
        phase(Phase.VAD, 5, 1, asset_id="a" * 64),
        phase(Phase.VAD, 6, 1, asset_id="b" * 64),
    ]
    record_phases(media_database, task(), records[:2])
    record_phases(media_database, task(), records)
    every = "select sequence, phase, asset_id, duration_s, ctid::text, xmin::text from phase_timing order by sequence"
    before = rows(media_database, every)
    record_phases(media_database, task(), records)

    assert rows(media_database, every) == before
    assert [(row[1], row[2], row[3]) for row in before] == [
        ("queue", None, 3.0),
        ("import", None, 0.1 + 0.2),
        ("vad", "a" * 64, 1.0),
        ("vad", "b" * 64, 1.0),
    ]


def test_a_container_that_two_tries_followed_is_timed_once(media_database: Engine) -> None:
    begin_attempt(media_database, task(), Stage.TRANSCRIBE, after(3))
    first, second = phase(Phase.VAD, 5, 1, asset_id="a" * 64), phase(Phase.VAD, 6, 1, asset_id="b" * 64)
    record_phases(media_database, task(), [phase(Phase.IMPORT, 4, 1), first])
    later = task(try_number=2)
    begin_attempt(media_database, later, Stage.TRANSCRIBE, after(8))
    record_phases(media_database, later, [phase(Phase.QUEUE, 7, 1), phase(Phase.IMPORT, 4, 1), first, second])

    told = "select try_number, phase, asset_id from phase_timing order by try_number, sequence"
    assert rows(media_database, told) == [
        (1, "import", None),
        (1, "vad", "a" * 64),
        (2, "queue", None),
        (2, "vad", "b" * 64),
    ]


def test_writers_at_once_record_each_phase_once(media_database: Engine) -> None:
    begin_attempt(media_database, task(), Stage.TRANSCRIBE, after(3))
    records = [phase(Phase.DECODE, number, 1) for number in range(50)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: record_phases(media_database, task(), records), range(3)))

    assert rows(media_database, "select count(*), max(sequence) from phase_timing") == [(50, 49)]


def test_the_view_tells_variant_device_and_model_of_each_phase(media_database: Engine) -> None:
    begin_attempt(media_database, task(), Stage.TRANSCRIBE, after(3))
    record_phases(media_database, task(), [phase(Phase.TRANSCRIPTION, 5, 2, span_s=3)])
    describe_attempt(
        media_database,
        task(),
        AttemptDetails(Variant.CUDA, "GPU-1a2b", models=(WHISPER,), compute_type="float16"),
    )

    assert rows(
        media_database,
        "select stage, variant, device, compute_type, models #>> '{0,role}', kind, ended_at from phase_report",
    ) == [("audio.transcribe", "cuda", "GPU-1a2b", "float16", "whisper", "work", after(8))]


def test_the_wait_for_a_slot_runs_from_the_end_of_the_last_upstream_task(media_database: Engine) -> None:
    for name, end_s in (("media_probe", 5.0), ("media_extract", 9.0)):
        begin_attempt(media_database, task(name), None, after(1))
        finish_attempt(media_database, task(name), AttemptEnd(after(end_s), AttemptOutcome.DONE))
    begin_attempt(media_database, task("vision_analyze"), Stage.ANALYZE, after(1))

    found = last_finished(media_database, **RUN, task_ids=["media_probe", "media_extract", "vision_analyze"])

    assert found == after(9)
    assert last_finished(media_database, **RUN, task_ids=["nlp_enrich"]) is None
    assert last_finished(media_database, **RUN, task_ids=[]) is None


def test_a_run_that_is_cleared_goes_again(media_database: Engine) -> None:
    begin(media_database)
    finish_run(media_database, **RUN, finished_at=after(20), outcome=RunOutcome.FAILED)
    begin(media_database, queued_at=after(100))

    told = "select queued_at, finished_at, outcome, parameters ->> 'device' from processing_run"
    assert rows(media_database, told) == [(after(100), None, "running", "cpu\ufffd")]


def test_item_outcomes_take_the_latest_word(media_database: Engine) -> None:
    begin(media_database)
    bad_name = "caf\udce9.mp4"
    first = [
        RunItem("archive", "a.mp4", None, RunItemOutcome.PENDING),
        RunItem("archive", bad_name, None, RunItemOutcome.REJECTED, Reason.UNREADABLE, "bad name\0"),
    ]
    set_item_outcomes(media_database, **RUN, items=first)
    set_item_outcomes(media_database, **RUN, items=[RunItem("archive", "a.mp4", None, RunItemOutcome.DONE)])
    set_item_outcomes(media_database, **RUN, items=[])

    assert rows(media_database, "select path, outcome, reason, message from run_item order by path") == [
        ("a.mp4", "done", None, ""),
        (r"caf\xe9.mp4", "rejected", "unreadable", "bad name\ufffd"),
    ]


@pytest.mark.parametrize("outcome", list(RunItemOutcome))
def test_what_ends_well_in_any_run_is_no_failure_of_nights_any_more(
    media_database: Engine, outcome: RunItemOutcome
) -> None:
    begin(media_database)
    with media_database.begin() as connection:
        for digit in "ab":
            row = {"asset_id": digit * 64}
            connection.execute(text("insert into media_asset (asset_id, size_bytes) values (:asset_id, 1)"), row)
            connection.execute(text("insert into asset_failure values (:asset_id, 4, now(), null, 'why')"), row)
    reason = Reason.CORRUPT if outcome is RunItemOutcome.REJECTED else None
    set_item_outcomes(media_database, **RUN, items=[RunItem("archive", "a.mp4", "a" * 64, outcome, reason)])

    is_well = outcome in (RunItemOutcome.DONE, RunItemOutcome.REJECTED)
    parked = [("b" * 64,)] if is_well else [("a" * 64,), ("b" * 64,)]
    assert rows(media_database, "select asset_id from asset_failure order by asset_id") == parked


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["done", "rejected"], RunOutcome.DONE),
        (["done", "left"], RunOutcome.LEFT),
        (["left", "failed"], RunOutcome.FAILED),
        (["pending"], RunOutcome.LEFT),
        ([], RunOutcome.DONE),
    ],
)
def test_items_decide_how_a_run_ended(outcomes: list[str], expected: RunOutcome) -> None:
    items = [RunItem("archive", f"{n}.mp4", None, RunItemOutcome(outcome)) for n, outcome in enumerate(outcomes)]

    assert run_outcome(items) is expected


@pytest.mark.parametrize(
    "change",
    [
        "update stage_attempt set outcome = 'exploded'",
        "update stage_attempt set outcome = 'done'",
        "update stage_attempt set stage = 'audio.guess'",
        "update stage_attempt set variant = 'rocm'",
        "update stage_attempt set joined_try_number = 1",
        "update stage_attempt set items_left = -1",
        "update phase_timing set duration_s = -0.1",
        "update phase_timing set phase = 'Model Load'",
        "update run_item set outcome = 'rejected'",
        "update run_item set asset_id = repeat('A', 64)",
        "update processing_run set finished_at = now()",
    ],
)
def test_the_database_refuses_what_cannot_be(media_database: Engine, change: str) -> None:
    begin(media_database)
    set_item_outcomes(media_database, **RUN, items=[RunItem("archive", "a.mp4", None, RunItemOutcome.PENDING)])
    begin_attempt(media_database, task(), Stage.TRANSCRIBE, after(3))
    record_phases(media_database, task(), [phase(Phase.VAD, 5, 1)])

    with pytest.raises(IntegrityError), media_database.begin() as connection:
        connection.execute(text(change))


@pytest.fixture
def finished_run(media_database: Engine) -> Engine:
    """10 s from request to end; the phases cover [0, 6) and [8, 9), one sticks out at the end of the run."""
    begin(media_database)
    begin_attempt(media_database, task(), Stage.TRANSCRIBE, after(2))
    describe_attempt(media_database, task(), AttemptDetails(Variant.CPU, "cpu"))
    records = [
        phase(Phase.QUEUE, 0, 2),
        phase(Phase.MODEL_LOAD, 2, 2),
        phase(Phase.VAD, 3, 0.5, span_s=2),
        phase(Phase.VAD, 4, 1.5, span_s=2, asset_id="a" * 64),
        phase(Phase.TRANSCRIPTION, 8, 1),
        phase(Phase.COLLECT, 9.5, 1),
    ]
    record_phases(media_database, task(), records)
    finish_run(media_database, **RUN, finished_at=after(10), outcome=RunOutcome.DONE)
    return media_database


def test_the_phase_table_sums_by_phase_stage_and_variant(finished_run: Engine) -> None:
    with finished_run.begin() as connection:
        table = {row.phase: row for row in connection.execute(query("run_phase_table"), RUN)}

    assert {name: (row.kind, row.occurrences, row.total_s) for name, row in table.items()} == {
        "queue": ("wait", 1, 2.0),
        "model_load": ("overhead", 1, 2.0),
        "vad": ("work", 2, 2.0),
        "transcription": ("work", 1, 1.0),
        "collect": ("overhead", 1, 1.0),
    }
    assert table["vad"].median_s == 1.0
    assert sum(row.share for row in table.values()) == pytest.approx(1)


def test_coverage_is_the_union_of_spans_within_the_run(finished_run: Engine) -> None:
    with finished_run.begin() as connection:
        row = connection.execute(query("run_coverage"), RUN).one()

    assert (row.wall_s, row.covered_s, row.share) == (10.0, 7.5, 0.75)
    assert (row.longest_gap_at_s, row.longest_gap_s) == (6.0, 2.0)


def test_a_run_without_phases_is_not_covered_at_all(media_database: Engine) -> None:
    begin(media_database)
    finish_run(media_database, **RUN, finished_at=after(10), outcome=RunOutcome.DONE)
    with media_database.begin() as connection:
        row = connection.execute(query("run_coverage"), RUN).one()

    assert (row.wall_s, row.covered_s, row.longest_gap_s) == (10.0, 0.0, 10.0)


def test_a_run_of_no_length_has_no_share(media_database: Engine) -> None:
    begin(media_database, queued_at=None)
    finish_run(media_database, **RUN, finished_at=after(1), outcome=RunOutcome.DONE)
    with media_database.begin() as connection:
        row = connection.execute(query("run_coverage"), RUN).one()

    assert (row.wall_s, row.covered_s, row.share, row.longest_gap_s) == (0.0, 0.0, None, 0.0)
