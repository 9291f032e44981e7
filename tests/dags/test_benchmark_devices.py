"""The tasks of `benchmark_devices` around the one that measures, and how they are wired."""

import importlib
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import text

from benchmark_devices import tasks
from benchmark_devices.params import EXAMPLE
from operators.benchmark.plan import BENCHMARK_DAG_ID, read_plan
from operators.benchmark.records import BenchmarkFolder
from operators.settings import Folders
from operators.shard import RunFolder
from tests.operators.benchmark.made import made_benchmark, made_plan

PARAMS: dict[str, Any] = {
    "files": ["archive/tape.mp4"],
    "asset_ids": None,
    "variants": EXAMPLE,
    "repeats": 3,
    "language": None,
    "name": "tape",
    "baseline": None,
}


@pytest.fixture
def deployment(media_database, tmp_path, monkeypatch):
    for name in ("archive", "results", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "archive" / "tape.mp4").write_bytes(b"a film")
    settings = {
        "NIGHTREEL_DATABASE_URL": media_database.url.render_as_string(hide_password=False),
        "NIGHTREEL_STAGE_CPUS": "2",
        "NIGHTREEL_STAGE_MEMORY_MIB": "2048",
        "NIGHTREEL_STAGE_PIDS": "64",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NIGHTREEL_GPU_DEVICES", raising=False)
    roots = {"archive": tmp_path / "archive"}
    places = Folders(roots, tmp_path / "results", tmp_path / "work", roots, tmp_path / "results", tmp_path / "work")
    monkeypatch.setattr(tasks, "folders", lambda: places)
    return tmp_path / "work"


def in_run(monkeypatch, run_id="run", **params):
    """The context of a task of this run; returns what it leaves for others."""
    now, left = datetime.now(UTC), {}
    running = SimpleNamespace(
        dag_id=BENCHMARK_DAG_ID,
        run_id=run_id,
        task_id="t",
        map_index=-1,
        try_number=1,
        xcom_push=lambda key, value: left.update({key: value}),
    )
    dag_run = SimpleNamespace(dag_id=BENCHMARK_DAG_ID, run_id=run_id, clear_number=0, start_date=now, run_after=now)
    context = {"ti": running, "dag_run": dag_run, "params": {**PARAMS, **params}}
    monkeypatch.setattr(tasks, "get_current_context", lambda: context)
    return left


def run_outcome(database):
    with database.connect() as connection:
        return connection.execute(text("select outcome from processing_run")).scalar_one()


def test_what_is_to_be_measured_is_written_down(deployment, media_database, monkeypatch):
    in_run(monkeypatch)
    told = tasks.find_assets.function()
    assert told.startswith("1 assets, 4 variants, 3 rounds")
    folder = BenchmarkFolder(RunFolder(deployment, BENCHMARK_DAG_ID, "run"))
    assert folder.read_plan().name == "tape"
    shard = folder.run_folder.read_shard()
    assert shard is not None
    assert [item.path for item in shard.items] == ["tape.mp4"]
    with media_database.connect() as connection:
        (row,) = connection.execute(text("select name, outcome, media from benchmark"))
    assert (row.name, row.outcome, row.media[0]["source"]) == ("tape", "running", "archive/tape.mp4")


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"variants": []}, "list of 1 to 8"),
        ({"variants": [{"name": "gpu", "stages": ["audio.transcribe"], "device": "cuda"}]}, "none is configured"),
        ({"files": ["archive/gone.mp4"]}, "1 to 20 assets: 0 were found"),
        ({"baseline": "never"}, "none is called 'never'"),
    ],
)
def test_what_cannot_be_measured_fails_at_once_and_ends_the_run(deployment, media_database, monkeypatch, params, rule):
    in_run(monkeypatch, **params)
    with pytest.raises(AirflowFailException, match=rule):
        tasks.find_assets.function()
    assert run_outcome(media_database) == "failed"


def test_a_regression_fails_the_run_after_its_report_is_left(deployment, media_database, monkeypatch):
    made_benchmark(media_database, deployment, made_plan(name="before"), seconds={"int8": 4}, run_id="1")
    made_benchmark(media_database, deployment, made_plan(baseline="before"), seconds={"int8": 8}, run_id="2")
    left = in_run(monkeypatch, "2")
    with pytest.raises(AirflowFailException, match="slower than baseline 'before'"):
        tasks.compare.function()
    assert "# Benchmark b" in left["return_value"]
    assert (RunFolder(deployment, BENCHMARK_DAG_ID, "2").path / "benchmark.md").read_text() == left["return_value"]


def test_it_measures_alone_on_the_cpu(monkeypatch):
    monkeypatch.setenv("NIGHTREEL_CPU_SLOTS", "3")
    module = importlib.reload(importlib.import_module("benchmark_devices.benchmark_devices_dag"))
    measure = module.dag.get_task("measure")
    assert (measure.pool, measure.pool_slots, module.dag.max_active_runs) == ("cpu", 3, 1)
    assert measure.upstream_task_ids == {"find_assets"}
    assert measure.downstream_task_ids == {"compare"}


def test_the_forms_own_variants_can_be_measured():
    assert len(read_plan({"variants": EXAMPLE, "repeats": 5}, "run").variants) == 4
