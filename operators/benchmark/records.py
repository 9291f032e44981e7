"""What a benchmark leaves in its folder: one file for each container, and what was made of the media."""

import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from operators.benchmark.plan import BenchmarkPlan, Step
from operators.shard import RunFolder
from stage_contract.models import ModelRef
from stage_contract.phases import PhaseRecord
from stage_contract.request import AssetId, Fingerprint
from stage_contract.vocabulary import Stage, Variant
from stage_contract.workspace import write_durably


class StepRecord(BaseModel):
    """One container that ended. `failure` says why it does not count, empty when it does.

    `results` names what was made of each asset; an asset that was rejected has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Stage
    variant: int | None
    round: int
    build: Variant
    compute_type: str
    batch_size: int
    device: str
    image: str
    image_digest: str
    models: tuple[ModelRef, ...]
    phases: tuple[PhaseRecord, ...]
    results: dict[AssetId, Fingerprint]
    failure: str = ""


class BenchmarkFolder:
    """The files of one benchmark, below the folder of its run.

    Results lie in it too, apart from those of production, and each container's have names of their own: nothing is
    found there, and nothing is reused.
    """

    def __init__(self, run_folder: RunFolder) -> None:
        self.run_folder = run_folder
        self.path = run_folder.path
        self.results = run_folder.path / "results"

    def write_plan(self, plan: BenchmarkPlan) -> None:
        """Say what is to be measured."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_durably(self.path / "plan.json", plan.model_dump_json(indent=1))

    def read_plan(self) -> BenchmarkPlan:
        """What is to be measured.

        Raises:
            FileNotFoundError: the run has no plan.
        """
        return BenchmarkPlan.model_validate_json((self.path / "plan.json").read_bytes())

    def forget(self) -> None:
        """Before a run goes anew: what was measured before does not count."""
        shutil.rmtree(self._steps, ignore_errors=True)
        # Nothing refers to these any more; what cannot be deleted does no harm.
        shutil.rmtree(self.results, ignore_errors=True)

    def write_step(self, step: Step, record: StepRecord) -> None:
        """Keep what a container did; a retry goes on after it."""
        self._steps.mkdir(parents=True, exist_ok=True)
        write_durably(self._file(step), record.model_dump_json(indent=1))

    def read_step(self, step: Step) -> StepRecord | None:
        """What a container did; none when it has not ended."""
        path = self._file(step)
        return StepRecord.model_validate_json(path.read_bytes()) if path.exists() else None

    def attempt(self, step: Step) -> Path:
        """The folder of a container: its request, phases and outcome."""
        return self.path / "containers" / step.key

    @property
    def _steps(self) -> Path:
        return self.path / "steps"

    def _file(self, step: Step) -> Path:
        return self._steps / f"{step.key}.json"
