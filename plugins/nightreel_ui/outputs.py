"""What a stage wrote in a run: a page that lists it, and the files."""

import re
from dataclasses import dataclass
from pathlib import Path

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.templating import Jinja2Templates

from operators.settings import RESULTS_MOUNT, WORK_MOUNT
from operators.shard import RunFolder, StageIndex
from stage_contract.result import ItemResult, read_result, result_dir
from stage_contract.vocabulary import Stage

router = APIRouter(
    prefix="/outputs/{dag_id}",
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))],
)
templates = Jinja2Templates(directory=Path(__file__).parent / "templates")

# Task ids of process_media are its stages' names with an underscore.
STAGE_OF_TASK = {stage.replace(".", "_"): stage for stage in Stage}


@dataclass(frozen=True)
class AssetOutputs:
    """One asset of the run: where it came from, what became of it, and its files."""

    asset_id: str
    source: str
    outcome: str
    message: str
    result: ItemResult | None


@router.get("", response_class=HTMLResponse)
def list_outputs(request: Request, dag_id: str, run_id: str, task_id: str) -> HTMLResponse:
    """The page. `task_id` names the stage."""
    stage = STAGE_OF_TASK.get(task_id)
    if stage is None:
        raise HTTPException(404, f"{task_id!r} is no stage; stages are {', '.join(STAGE_OF_TASK)}")
    context = {"dag_id": dag_id, "run_id": run_id, "stage": stage, "assets": _asset_outputs(dag_id, run_id, stage)}
    return templates.TemplateResponse(request, "outputs.html", context)


@router.get("/file")
def download(dag_id: str, run_id: str, stage: Stage, asset_id: str, name: str) -> FileResponse:
    """One file of a result of this run. Only names that the result lists can be had."""
    index = _run_folder(dag_id, run_id).read_index(stage)
    item = index.items.get(asset_id) if index else None
    directory = result_dir(RESULTS_MOUNT, asset_id, stage, item.fingerprint) if item else None
    result = read_result(directory) if directory else None
    if directory is None or result is None or name not in {file.name for file in result.files}:
        raise HTTPException(404, "this run has no such file")
    # The result was written by a container that decodes untrusted media: its word is not enough.
    if (directory / name).resolve().parent != directory.resolve():
        raise HTTPException(404, "this run has no such file")
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
    return FileResponse(directory / name, filename=f"{asset_id[:12]}.{name}", headers=headers)


def _asset_outputs(dag_id: str, run_id: str, stage: Stage) -> list[AssetOutputs]:
    folder = _run_folder(dag_id, run_id)
    shard = folder.read_shard()
    if shard is None:
        raise HTTPException(404, "this run has no files; find_assets has not ended, or they were removed")
    index = folder.read_index(stage) or StageIndex(stage=stage, items={})
    outputs = []
    for asset in shard.items:
        item = index.items.get(asset.asset_id)
        outcome, message = (item.outcome, item.message) if item else ("not processed", "an earlier stage says why")
        result = read_result(result_dir(RESULTS_MOUNT, asset.asset_id, stage, item.fingerprint)) if item else None
        outputs.append(AssetOutputs(asset.asset_id, asset.source, outcome, message, result))
    return outputs


def _run_folder(dag_id: str, run_id: str) -> RunFolder:
    if not re.fullmatch(r"\w[\w.-]*", dag_id):
        raise HTTPException(404, f"{dag_id!r} is no DAG's name")
    return RunFolder(WORK_MOUNT, dag_id, run_id)
