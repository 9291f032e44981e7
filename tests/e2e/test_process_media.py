"""A real video through real Airflow, Docker, Postgres and models."""

import shutil

import pytest

from console.demo import word_error_rate
from operators.queries import query
from operators.views.search import Kind, Wish, search

PHASES = """
select task_id, phase, count(*) as n from phase_timing
where dag_id = :dag_id and run_id = :run_id group by task_id, phase
"""
CHOICES = "select stage, branch, reason, waited_s from device_choice where dag_id = :dag_id and run_id = :run_id"
ATTEMPTS = """
select task_id, outcome, try_number, joined_try_number, container_id, image_digest, models, message
from stage_attempt where dag_id = :dag_id and run_id = :run_id order by started_at
"""
ITEMS = "select asset_id, path, outcome, reason, message from run_item where dag_id = :dag_id and run_id = :run_id"
STAGE_TASKS = {"media_probe", "media_extract", "audio_transcribe_cpu", "vision_analyze_cpu", "nlp_enrich"}
CHOICE_TASKS = {"audio_gpu_health", "vision_gpu_health"}
GPU_TASKS = {"audio_transcribe_gpu", "vision_analyze_gpu"}


@pytest.fixture(scope="module")
def first_run(deployment):
    return deployment.run(*deployment.demo_locations)


@pytest.fixture(scope="module")
def second_run(deployment, first_run):
    return deployment.run(*deployment.demo_locations)


def test_a_good_run_is_green_though_one_file_is_broken(deployment, first_run):
    assert first_run.state == "success"
    states = deployment.task_states(first_run)
    assert {task for task, state in states.items() if state == "skipped"} == GPU_TASKS
    assert {state for task, state in states.items() if task not in GPU_TASKS} == {"success"}


def test_the_broken_file_is_rejected_with_a_reason_and_the_others_are_done(deployment, first_run):
    outcomes = {row["path"]: row for row in deployment.run_rows(ITEMS, first_run)}
    broken = [row for row in outcomes.values() if row["outcome"] == "rejected"]
    assert len(broken) == 1
    assert broken[0]["reason"] in ("corrupt", "not_media")
    assert len(broken[0]["message"]) > 20
    assert {row["outcome"] for row in outcomes.values()} == {"done", "rejected"}


def test_the_narration_is_transcribed_with_few_errors(deployment, first_run, narration):
    row = deployment.rows(
        "select text from transcript join media_location using (asset_id) where path like :path",
        path=f"%{narration.path.name}",
    )[0]
    assert word_error_rate(narration.known_text, row["text"]) <= 0.10


def test_a_person_is_seen_in_the_speech(deployment, first_run, speech):
    labels = deployment.rows(
        "select label, count(*) as n from detection join media_location using (asset_id) "
        "where path like :path group by label order by n desc",
        path=f"%{speech.name}",
    )
    assert labels[0]["label"] == "person"


@pytest.fixture(scope="module")
def done_assets(deployment, first_run):
    return {row["asset_id"] for row in deployment.run_rows(ITEMS, first_run) if row["outcome"] == "done"}


def test_what_was_said_and_seen_is_in_the_database(deployment, done_assets):
    def count(what):
        return deployment.rows(f"select count(*) as n from {what}", assets=list(done_assets))[0]["n"]  # noqa: S608

    assert count("transcript_segment where asset_id = any(:assets)") >= 2
    assert count("entity where asset_id = any(:assets)") >= 4
    assert count("sentiment where asset_id = any(:assets) and segment_index is null") == len(done_assets) == 2
    # No trained CLIP can be had from package registries: vectors are there, tags must not be.
    untrained = count("frame_embedding where asset_id = any(:assets) and not trained")
    assert (count("frame_tag where asset_id = any(:assets)") == 0) == (untrained > 0)


def test_what_was_said_can_be_searched(deployment, done_assets):
    wish = Wish("printing or negotiations or americans", Kind.SPEECH)
    found = search(deployment.media_database(), wish, limit=10, offset=0, hits=1)
    assert {asset.card.asset_id for asset in found.assets} & done_assets


def test_subtitles_and_contact_sheet_are_files(deployment, done_assets):
    for asset in done_assets:
        for name in ("transcript.srt", "transcript.vtt", "contact_sheet.jpg"):
            files = list((deployment.settings.results / "assets" / asset).glob(f"*/*/{name}"))
            assert [file.stat().st_size > 50 for file in files] == [True]


def test_every_attempt_says_what_ran(deployment, first_run):
    attempts = {row["task_id"]: row for row in deployment.run_rows(ATTEMPTS, first_run)}
    assert set(attempts) == STAGE_TASKS | CHOICE_TASKS | {"find_assets", "publish"}
    for task in STAGE_TASKS:
        assert attempts[task]["image_digest"].startswith("sha256:")
        assert attempts[task]["container_id"]
    assert [model["role"] for model in attempts["audio_transcribe_cpu"]["models"]] == ["whisper"]


def test_without_a_gpu_everything_runs_on_the_cpu_and_nothing_waits(deployment, first_run):
    choices = deployment.run_rows(CHOICES, first_run)
    assert {row["stage"] for row in choices} == {"audio.transcribe", "vision.analyze"}
    assert {row["branch"] for row in choices} == {"cpu"}
    assert all("no GPU is configured" in row["reason"] for row in choices)
    assert max(row["waited_s"] for row in choices) < 1
    states = deployment.task_states(first_run)
    assert {states[task] for task in GPU_TASKS} == {"skipped"}


def test_a_run_that_insists_on_a_gpu_is_refused_where_there_is_none(deployment, speech):
    run = deployment.run(f"archive/statements/{speech.name}", device="gpu")
    assert run.state == "failed"
    message = {row["task_id"]: row["message"] for row in deployment.run_rows(ATTEMPTS, run)}["find_assets"]
    assert "NIGHTREEL_GPU_DEVICES" in message


def test_phases_and_waits_account_for_the_runs_wall_time(deployment, first_run):
    key = {"dag_id": first_run.dag_id, "run_id": first_run.run_id}
    with deployment.media_database().connect() as connection:
        row = connection.execute(query("run_coverage"), key).one()
    assert row.share >= 0.95
    # Airflow's own clock agrees: nothing was left out by measuring a shorter run.
    airflow_wall_s = (first_run.ended_at - first_run.queued_at).total_seconds()
    assert 0.95 <= row.wall_s / airflow_wall_s <= 1.01


def test_no_container_stays(deployment, first_run):
    assert deployment.containers(first_run) == []


def test_a_second_run_computes_nothing(deployment, second_run):
    assert second_run.state == "success"
    attempts = {row["task_id"]: row for row in deployment.run_rows(ATTEMPTS, second_run)}
    assert {attempts[task]["outcome"] for task in STAGE_TASKS} == {"reused"}
    assert {attempts[task]["container_id"] for task in STAGE_TASKS} == {None}
    phases = {row["phase"] for row in deployment.run_rows(PHASES, second_run)}
    assert phases == {"queue", "task_start", "register", "branch", "prepare", "publish"}


def test_publishing_again_changes_no_row(deployment, second_run):
    tables = ("media_asset", "transcript_segment", "detection", "entity", "stage_result", "frame_embedding")
    sql = " union all ".join(
        f"select '{table}' as t, count(*) as n, max(cast(cast(xmin as text) as bigint)) as newest from {table}"  # noqa: S608
        for table in tables
    )
    before = deployment.rows(sql)
    assert deployment.run(*deployment.demo_locations).state == "success"
    assert deployment.rows(sql) == before


def test_a_copy_under_another_name_is_no_new_work(deployment, second_run, speech):
    location = deployment.add(speech, "copies/another name.mp4")
    run = deployment.run(location)
    attempts = {row["task_id"]: row["outcome"] for row in deployment.run_rows(ATTEMPTS, run)}
    assert {attempts[task] for task in STAGE_TASKS} == {"reused"}
    assert deployment.run_rows(ITEMS, run)[0]["outcome"] == "done"
    shutil.rmtree(deployment.settings.archive / "copies")


def test_only_the_stages_asked_for_run(deployment, second_run, speech):
    run = deployment.run(f"archive/statements/{speech.name}", stages=["vision.analyze"])
    states = deployment.task_states(run)
    assert run.state == "success"
    assert states["vision_analyze_cpu"] == "success"
    left_out = ("media_extract", "audio_transcribe_gpu", "audio_transcribe_cpu", "nlp_enrich", "vision_analyze_gpu")
    assert {states[task] for task in left_out} == {"skipped"}


def test_nothing_to_process_fails_in_words(deployment):
    run = deployment.run()
    assert run.state == "failed"
    message = {row["task_id"]: row["message"] for row in deployment.run_rows(ATTEMPTS, run)}["find_assets"]
    assert "at least one media file" in message


def test_a_missing_file_is_a_rejected_row(deployment):
    run = deployment.run("archive/no such tape.mp4")
    row = deployment.run_rows(ITEMS, run)[0]
    assert run.state == "success"
    assert (row["outcome"], row["reason"]) == ("rejected", "vanished")
