"""What holds for every DAG, and the wiring of `process_media`."""

import importlib
from pathlib import Path

import pytest
from airflow.sdk import DAG

from operators.routing import IMAGES
from operators.stage_operator import StageOperator
from stage_contract.vocabulary import Stage

FOLDER = Path(__file__).resolve().parents[2] / "dags"
MODULES = ["process_media.process_media_dag", "remove_orphans_dag"]


@pytest.fixture(scope="module")
def dags():
    found: dict[str, DAG] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        found |= {dag.dag_id: dag for dag in vars(module).values() if isinstance(dag, DAG)}
    return found


def test_every_dag_file_is_looked_at():
    files = {".".join(path.relative_to(FOLDER).with_suffix("").parts) for path in FOLDER.rglob("*_dag.py")}
    assert files == set(MODULES)


def test_the_dags_are_these(dags):
    assert set(dags) == {"process_media", "process_media_urgent", "remove_orphans"}


def test_every_dag_has_a_manual_an_owner_and_a_tag(dags):
    for dag in dags.values():
        assert "## When something is wrong" in dag.doc_md
        assert dag.description
        assert "nightreel" in dag.tags
        assert all(task.owner == "nightreel" for task in dag.tasks)


def test_every_param_explains_itself(dags):
    for dag in dags.values():
        for name in dag.params:
            param = dag.params.get_param(name)
            assert {"type", "title"} <= set(param.schema), name
            assert param.description, name


def test_every_stage_runs_once_after_what_it_reads(dags):
    dag = dags["process_media"]
    stages = {task.stage: task for task in dag.tasks if isinstance(task, StageOperator)}
    assert set(stages) == set(Stage) == set(IMAGES)
    assert stages[Stage.ENRICH].upstream_task_ids == {"audio_transcribe"}
    assert stages[Stage.ANALYZE].upstream_task_ids == {"media_probe"}
    assert dag.get_task("publish").upstream_task_ids == {"nlp_enrich", "vision_analyze"}


def test_urgent_work_goes_before_all_other_and_is_wired_the_same(dags):
    plain, urgent = dags["process_media"], dags["process_media_urgent"]
    assert plain.task_ids == urgent.task_ids
    assert min(task.priority_weight for task in urgent.tasks) > max(task.priority_weight for task in plain.tasks)
    assert {task.weight_rule for task in urgent.tasks} == {"absolute"}


def test_runs_end_before_new_ones_begin(dags):
    tasks = dags["process_media"]
    assert tasks.get_task("publish").priority_weight > tasks.get_task("media_probe").priority_weight
