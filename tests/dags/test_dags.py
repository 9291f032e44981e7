"""What holds for every DAG, and the wiring of `process_media`."""

import copy
import importlib
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from operators.gpu.gpu_sensor import GpuHealthSensor
from operators.routing import GPU_STAGES, IMAGES
from operators.stage_operator import StageOperator
from operators.urgency import URGENT_DAG_ID
from stage_contract.vocabulary import Stage, Variant

FOLDER = Path(__file__).resolve().parents[2] / "dags"
MODULES = [
    "archive_backfill.archive_backfill_dag",
    "benchmark_devices.benchmark_devices_dag",
    "pause_backfill_dag",
    "process_media.process_media_dag",
    "remove_orphans_dag",
    "route_stages_dag",
    "switch_gpu_dag",
]


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
    assert set(dags) == {
        "archive_backfill",
        "benchmark_devices",
        "pause_backfill",
        "process_media",
        "process_media_urgent",
        "remove_orphans",
        "route_stages",
        "switch_gpu",
    }


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
    on_cpu = [task.stage for task in dag.tasks if isinstance(task, StageOperator) and task.variant is Variant.CPU]
    assert sorted(on_cpu) == sorted(Stage) == sorted(IMAGES)
    assert dag.get_task("nlp_enrich").upstream_task_ids == {"audio_transcribe_gpu", "audio_transcribe_cpu"}
    assert dag.get_task("vision_gpu_health").upstream_task_ids == {"media_probe"}
    assert dag.get_task("publish").upstream_task_ids == {"nlp_enrich", "vision_analyze_gpu", "vision_analyze_cpu"}


def test_every_stage_with_a_gpu_build_is_chosen_for_and_falls_back_to_the_cpu(dags):
    dag = dags["process_media"]
    sensors = {task.stage: task for task in dag.tasks if isinstance(task, GpuHealthSensor)}
    assert set(sensors) == set(GPU_STAGES)
    for stage, sensor in sensors.items():
        gpu, cpu = dag.get_task(sensor.gpu_task_id), dag.get_task(sensor.cpu_task_id)
        assert (gpu.stage, gpu.variant, gpu.pool) == (stage, Variant.CUDA, "gpu")
        assert (cpu.stage, cpu.variant, cpu.pool) == (stage, Variant.CPU, "cpu")
        assert sensor.downstream_task_ids == {gpu.task_id, cpu.task_id}
        assert (gpu.hands_over_to, cpu.takes_over_from) == (cpu.task_id, gpu.task_id)
        assert cpu.upstream_task_ids == {sensor.task_id, gpu.task_id}
        assert cpu.trigger_rule == "all_done"
        assert gpu.parameters == cpu.parameters


def test_urgent_work_goes_before_all_other_and_is_wired_the_same(dags):
    plain, urgent = dags["process_media"], dags["process_media_urgent"]
    assert plain.task_ids == urgent.task_ids
    assert min(task.priority_weight for task in urgent.tasks) > max(task.priority_weight for task in plain.tasks)
    assert {task.weight_rule for task in urgent.tasks} == {"absolute"}


def test_the_dag_that_others_step_aside_for_is_the_urgent_one(dags):
    assert dags[URGENT_DAG_ID].tasks
    assert "steps aside" in dags[URGENT_DAG_ID].description


def test_more_slots_allow_more_runs_at_a_time(monkeypatch):
    module = importlib.import_module("process_media.process_media_dag")
    few = module.plain.max_active_runs
    monkeypatch.setattr(module, "CPU_SLOTS", 64)
    assert module.process_media("many", 1, "As many as the slots allow").max_active_runs > few


def test_runs_end_before_new_ones_begin(dags):
    tasks = dags["process_media"]
    assert tasks.get_task("publish").priority_weight > tasks.get_task("media_probe").priority_weight


def test_only_stages_with_a_gpu_build_can_be_routed(dags):
    stage = dags["route_stages"].params.get_param("stage")
    assert stage.schema["enum"] == list(GPU_STAGES)


@pytest.mark.parametrize(("devices", "offered"), [("GPU-1,MIG-2", ["GPU-1", "MIG-2"]), ("", None)])
def test_the_gpus_that_can_be_switched_are_those_that_are_configured(monkeypatch, devices, offered):
    monkeypatch.setenv("NIGHTREEL_GPU_DEVICES", devices)
    monkeypatch.setenv("NIGHTREEL_GPU_VRAM_MIB", "8192,4096")
    module = importlib.reload(importlib.import_module("switch_gpu_dag"))
    assert module.dag.params.get_param("device").schema.get("enum") == offered


@pytest.mark.parametrize("dag_id", ["route_stages", "switch_gpu"])
def test_what_is_changed_by_hand_needs_a_reason(dags, dag_id):
    # A copy: what is resolved stays in the parameter.
    reason = copy.copy(dags[dag_id].params.get_param("reason"))
    with pytest.raises(ParamValidationError):
        reason.resolve()
    assert reason.resolve("the fan is broken") == "the fan is broken"
