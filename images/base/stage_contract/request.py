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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset_id: AssetId
    source: str
    size_bytes: int = Field(ge=0)
    mtime_ns: int
    fingerprint: Fingerprint
    inputs: dict[Stage, Fingerprint] = {}


class StageRequest(BaseModel):
    """One container's work. `parameters` are the stage's own (see `stage_contract.parameters`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    stage: Stage
    task: TaskKey
    variant: Variant
    compute_type: str
    parameters: dict[str, JsonValue]
    submitted_at: AwareDatetime = Field(description="when the container was asked for, UTC")
    items: tuple[RequestItem, ...] = Field(min_length=1)
