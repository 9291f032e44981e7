"""`request.json`: what one container is asked to do."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from stage_contract.vocabulary import Stage, Variant

AssetId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file's content")]
Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


class TaskKey(BaseModel):
    """Airflow's name for one attempt at one task. `map_index` is -1 for a task that is not mapped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = Field(ge=1)


class RequestItem(BaseModel):
    """One media asset of a request.

    `source` is relative to the media mount, its first part being the root's name
    (`archive/2024/tape 7.mp4`). `size_bytes` and `mtime_ns` are what the catalog saw: a file that
    differs was changed since and is rejected. `inputs` names the earlier results to read.
    `smaller_fingerprint` names the result that the request's smaller compute type would give; it is there
    exactly when the request has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset_id: AssetId
    source: str
    size_bytes: int = Field(ge=0)
    mtime_ns: int
    fingerprint: Fingerprint
    inputs: dict[Stage, Fingerprint] = {}
    smaller_fingerprint: Fingerprint | None = None


class StageRequest(BaseModel):
    """One container's work. `parameters` are the stage's own (see `stage_contract.parameters`).

    `device` is `cpu`, or the UUID of the GPU or MIG slice that was handed over; the container sees no
    other. `need_mib` is the VRAM that the work may take there, 0 on the CPU. `batch_size` is how many
    pictures or windows are computed at a time. `smaller_compute_type` is what the stage may go on with
    when the device is out of memory; none where the output would suffer too much.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    stage: Stage
    task: TaskKey
    variant: Variant
    device: str = "cpu"
    need_mib: int = Field(default=0, ge=0)
    compute_type: str
    smaller_compute_type: str | None = None
    batch_size: int = Field(default=1, ge=1)
    parameters: dict[str, JsonValue]
    submitted_at: AwareDatetime = Field(description="when the container was asked for, UTC")
    items: tuple[RequestItem, ...] = Field(min_length=1)
