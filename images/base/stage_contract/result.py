"""`result.json`, written last: a directory that holds one is complete. And a container's `outcome.json`."""

import stat
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from stage_contract.models import ModelRef
from stage_contract.request import AssetId, Fingerprint, TaskKey
from stage_contract.vocabulary import DeviceFault, ItemOutcome, Reason, ResultStatus, Stage, Variant

RESULT_FILE = "result.json"
OUTCOME_FILE = "outcome.json"


class OutputFile(BaseModel):
    """A file beside `result.json`. A plain name: who wrote it decodes untrusted media."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    size_bytes: int
    sha256: str


class Rejection(BaseModel):
    """Why there is no output, in a word and in a sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Reason
    message: str


class ItemResult(BaseModel):
    """One asset's result of one stage. `rejection` is there exactly when the status is `rejected`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    asset_id: AssetId
    stage: Stage
    stage_version: str
    fingerprint: Fingerprint
    status: ResultStatus
    rejection: Rejection | None = None
    variant: Variant
    compute_type: str
    models: tuple[ModelRef, ...]
    parameters: dict[str, JsonValue]
    inputs: dict[Stage, Fingerprint]
    files: tuple[OutputFile, ...] = ()
    task: TaskKey
    finished_at: AwareDatetime


class ItemReport(BaseModel):
    """What one container did about one item. `reason` is there exactly when it was rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset_id: AssetId
    fingerprint: Fingerprint
    outcome: ItemOutcome
    reason: Reason | None = None
    message: str = ""


class StageOutcome(BaseModel):
    """`outcome.json`: one line a person can read, and the fate of every item.

    `device_fault` is there exactly when the device was given up (exit 40).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exit_code: int
    message: str
    device_fault: DeviceFault | None = None
    items: tuple[ItemReport, ...]


def result_dir(results: Path, asset_id: str, stage: Stage, fingerprint: str) -> Path:
    """Where a result lives: `assets/<asset_id>/<stage>/<fingerprint>` below `results`."""
    return results / "assets" / asset_id / stage / fingerprint


def read_result(directory: Path) -> ItemResult | None:
    """The complete result in `directory`; none when there is none or it is not readable as one.

    A listed file that is missing, no regular file, or of another size makes a result incomplete.
    """
    try:
        result = ItemResult.model_validate_json((directory / RESULT_FILE).read_bytes())
        intact = all(_is_intact(directory / file.name, file.size_bytes) for file in result.files)
    except (OSError, ValidationError):
        return None
    return result if intact else None


def _is_intact(path: Path, size_bytes: int) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_size == size_bytes
