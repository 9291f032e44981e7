"""Who may import whom. The rooms are those of docs/architecture.md."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STDLIB = sys.stdlib_module_names
ML = {"torch", "torchvision", "faster_whisper", "ctranslate2", "open_clip", "ultralytics", "spacy", "transformers"}
MEDIA = {"av", "cv2", "ffmpeg", "PIL", "numpy"}
STAGES = {"media_stage", "audio_stage", "vision_stage", "nlp_stage"}
# The SDK has no base class for triggers yet.
SDK_OF_AIRFLOW = ("airflow.sdk", "airflow.providers", "airflow.triggers.base")
AIRFLOW_SIDE = {"airflow", "docker", "sqlalchemy", "psycopg", "psycopg2", "operators", "console"}


def imports(folder: str) -> Iterator[tuple[Path, str]]:
    """Every imported module's full name below `folder`, imports inside functions included."""
    files = sorted((REPOSITORY / folder).rglob("*.py"))
    assert files, f"{folder} holds no Python file: the rule would hold for nothing"
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield path, node.module or ""


def breaches(folder: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path, name in imports(folder)
        if name.split(".")[0] in forbidden
    ]


def test_the_stage_contract_imports_the_standard_library_and_pydantic_alone():
    allowed = STDLIB | {"pydantic", "stage_contract"}
    others = [f"{path.name}: {name}" for path, name in imports("images/base") if name.split(".")[0] not in allowed]
    assert not others


@pytest.mark.parametrize("image", ["media", "audio", "vision", "nlp"])
def test_a_stage_knows_neither_airflow_nor_another_stage(image):
    assert not breaches(f"images/{image}", AIRFLOW_SIDE | STAGES - {f"{image}_stage"})


def test_the_gpu_agent_imports_the_contract_nvml_and_the_metrics_library_alone():
    allowed = STDLIB | {"stage_contract", "gpu_agent", "pynvml", "prometheus_client"}
    others = [f"{path.name}: {name}" for path, name in imports("images/gpu_agent") if name.split(".")[0] not in allowed]
    assert not others


def test_the_gpu_agent_touches_nvml_in_child_processes_alone():
    """Any call may hang: the modules that serve answers must not load it, not even through another module."""
    children = {"nvml", "read_nvml", "watch_xids"}
    loading = {"pynvml", *(f"gpu_agent.{child}" for child in children)}
    assert {path.stem for path, name in imports("images/gpu_agent") if name in loading} == children


def test_operators_import_no_stage_no_model_library_and_no_dag():
    assert not breaches("operators", ML | MEDIA | STAGES | {"process_media", "console", "nightreel_ui"})


def test_operators_use_the_sdk_and_providers_of_airflow_alone():
    inner = [
        f"{path.name}: {name}"
        for path, name in imports("operators")
        if name.split(".")[0] == "airflow" and not name.startswith(SDK_OF_AIRFLOW)
    ]
    assert not inner


def test_dags_import_no_other_dag_and_no_model_library():
    assert not breaches("dags", ML | MEDIA | STAGES | {"console", "sqlalchemy", "nightreel_ui"})
    packages = {path.name for path in (REPOSITORY / "dags").iterdir() if path.is_dir() and path.name != "__pycache__"}
    foreign = [
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path, name in imports("dags")
        if name.split(".")[0] in packages - {path.relative_to(REPOSITORY / "dags").parts[0]}
    ]
    assert not foreign


def test_plugins_import_no_dag_and_no_docker():
    assert not breaches("plugins", ML | MEDIA | STAGES | {"docker", "process_media", "console"})


def test_the_console_imports_neither_airflow_nor_operators():
    assert not breaches("console", ML | STAGES | AIRFLOW_SIDE - {"console"})
