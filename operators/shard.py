"""A run's folder: which assets the run is about, and what each stage has made of them.

Tasks of a run pass each other files here instead of XComs; an XCom holds only a short summary.
"""

import hashlib
import re
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from stage_contract.request import AssetId, Fingerprint, TaskKey
from stage_contract.result import Rejection
from stage_contract.vocabulary import ItemOutcome, Reason, Stage
from stage_contract.workspace import write_durably

Model = TypeVar("Model", bound=BaseModel)

USABLE = {ItemOutcome.DONE, ItemOutcome.REUSED}


class ShardItem(BaseModel):
    """One media asset of a run, and where it was found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset_id: AssetId
    root: str
    path: str
    size_bytes: int
    mtime_ns: int

    @property
    def source(self) -> str:
        """The file below the media mount."""
        return f"{self.root}/{self.path}"


class ShardLocation(BaseModel):
    """A file that the run was asked for. It has an asset, or was rejected before it became one.

    A rejected one has an asset only when it was asked for by that asset's id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str
    path: str
    asset_id: AssetId | None = None
    rejection: Rejection | None = None


class Shard(BaseModel):
    """The assets of one run, each once, in the order in which they are processed.

    `locations` are all files asked for: copies of one file share an asset. `stages` are those to run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: tuple[ShardItem, ...]
    locations: tuple[ShardLocation, ...] = ()
    stages: tuple[Stage, ...] = tuple(Stage)


class StageItem(BaseModel):
    """What a stage made of one asset in this run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: Fingerprint
    outcome: ItemOutcome
    reason: Reason | None = None
    message: str = ""


class StageIndex(BaseModel):
    """What a stage made of each asset that it was given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Stage
    items: dict[AssetId, StageItem]


class RunFolder:
    """The folder of one DAG run below the work mount."""

    def __init__(self, work: Path, dag_id: str, run_id: str) -> None:
        self.path = work / dag_id / path_name(run_id)

    def write_shard(self, shard: Shard) -> None:
        """Say which assets the run is about."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_durably(self.path / "shard.json", shard.model_dump_json(indent=1))

    def read_shard(self) -> Shard | None:
        """The run's assets; none when it has not found them yet."""
        return self._read("shard.json", Shard)

    def forget_shard(self) -> None:
        """Before a run finds its assets anew: should that fail, the old shard must not pass for the new one."""
        (self.path / "shard.json").unlink(missing_ok=True)

    def forget_index(self, stage: Stage) -> None:
        """Before a stage goes anew: should it fail, what it made before must not pass for what it made now."""
        (self.path / f"{stage}.json").unlink(missing_ok=True)

    def write_index(self, index: StageIndex) -> None:
        """Say what a stage made of the assets, so that later stages know what to read."""
        write_durably(self.path / f"{index.stage}.json", index.model_dump_json(indent=1))

    def read_index(self, stage: Stage) -> StageIndex | None:
        """What a stage made of the assets; none when it has not run in this run."""
        return self._read(f"{stage}.json", StageIndex)

    def _read(self, name: str, model: type[Model]) -> Model | None:
        path = self.path / name
        return model.model_validate_json(path.read_bytes()) if path.exists() else None

    def attempt(self, task: TaskKey) -> Path:
        """The folder of one attempt at one task: its request, phases and outcome."""
        return self.task_folder(task) / f"try-{task.try_number}"

    def tries(self, task: TaskKey, first: int) -> list[Path]:
        """The folders of the tries from `first` up to the one before `task`."""
        numbers = range(first, task.try_number)
        return [self.attempt(task.model_copy(update={"try_number": number})) for number in numbers]

    def task_folder(self, task: TaskKey) -> Path:
        """The folder of all attempts at one task, `try-1`, `try-2` and so on."""
        index = f".{task.map_index}" if task.map_index >= 0 else ""
        return self.path / f"{task.task_id}{index}"


def path_name(text: str) -> str:
    """`text` as a name for a file or a container: readable, safe, and different for different texts."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:80]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
