"""Runs stages outside of containers: each in its own environment, as a process of its own."""

import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from stage_contract.fingerprint import fingerprint
from stage_contract.outputs import AUDIO_FILE, PROBE_FILE
from stage_contract.parameters import PARAMETERS
from stage_contract.phases import PHASES_FILE, PhaseRecord, read_phases
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.resources import THREADS_VARIABLE
from stage_contract.result import OUTCOME_FILE, StageOutcome, result_dir
from stage_contract.vocabulary import Stage, Variant

REPOSITORY = Path(__file__).resolve().parents[2]
PREPARED = "0" * 24
"""Stands for the fingerprint of the earlier results."""

ROOMS = {Stage.TRANSCRIBE: "audio", Stage.ANALYZE: "vision"}
INPUTS = {Stage.TRANSCRIBE: (Stage.EXTRACT, AUDIO_FILE), Stage.ANALYZE: (Stage.PROBE, PROBE_FILE)}


@dataclass(frozen=True)
class Setting:
    """What a stage runs on. `device` is `cpu`, or the UUID of a GPU."""

    variant: Variant
    compute_type: str
    batch_size: int
    device: str = "cpu"

    @property
    def name(self) -> str:
        """As the tables call it."""
        return f"{self.variant} {self.compute_type}"


@dataclass(frozen=True)
class Medium:
    """A media file and its asset id."""

    path: Path
    asset_id: str


@dataclass(frozen=True)
class Measured:
    """One run of a stage over all media that suit it."""

    stage: Stage
    setting: Setting
    outcome: StageOutcome
    phases: tuple[PhaseRecord, ...]
    media: tuple[Medium, ...]
    directories: dict[str, Path]
    """Of the results, by file name."""


class StageProcesses:
    """Runs stages on media. `environments` and `models` hold a folder each for `audio` and `vision`."""

    def __init__(self, environments: Path, models: Path, results: Path, threads: int) -> None:
        self._environments = environments
        self._models = models
        self._results = results
        self._threads = threads

    def prepare(self, files: Sequence[Path]) -> list[Medium]:
        """Make what earlier stages would have left of each file."""
        media = []
        for file in files:
            medium = Medium(file.resolve(), hashlib.sha256(file.read_bytes()).hexdigest())
            made = [self._input(stage, medium) for stage in ROOMS]
            for path in made:
                path.parent.mkdir(parents=True, exist_ok=True)
            program = REPOSITORY / "tests" / "bench" / "prepare_media.py"
            self._run(Stage.TRANSCRIBE, str(program), str(medium.path), *map(str, made)).check_returncode()
            media.append(medium)
        return media

    def run(self, stage: Stage, setting: Setting, media: Sequence[Medium], number: int) -> Measured | None:
        """Run a stage once on all media that it has something to do with; none when there are none.

        `number` tells runs apart: none reuses another's results.

        Raises:
            RuntimeError: the stage left no outcome.
        """
        suited = [medium for medium in media if self._input(stage, medium).exists()]
        if not suited:
            return None
        request = _request(stage, setting, suited, number)
        work = self._results / "work" / f"{ROOMS[stage]}-{number}"
        work.mkdir(parents=True)
        (work / "request.json").write_text(request.model_dump_json(indent=1))
        folders = ("--media", "/", "--results", str(self._results))
        done = self._run(stage, "-m", f"{ROOMS[stage]}_stage", "--request", str(work / "request.json"), *folders)
        (work / "log.txt").write_text(done.stdout)
        if not (work / OUTCOME_FILE).exists():
            raise RuntimeError(f"{stage} must leave an outcome: exit {done.returncode}\n{done.stdout}")
        outcome = StageOutcome.model_validate_json((work / OUTCOME_FILE).read_bytes())
        directories = {
            medium.path.name: result_dir(self._results, report.asset_id, stage, report.fingerprint)
            for medium, report in zip(suited, outcome.items, strict=True)
        }
        return Measured(stage, setting, outcome, tuple(read_phases(work / PHASES_FILE)), tuple(suited), directories)

    def _input(self, stage: Stage, medium: Medium) -> Path:
        earlier, name = INPUTS[stage]
        return result_dir(self._results, medium.asset_id, earlier, PREPARED) / name

    def _run(self, stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
        room = ROOMS[stage]
        environment = self._environments / room
        # In an image, the Dockerfile names these folders; CTranslate2 opens cuBLAS by its name alone.
        libraries = sorted(map(str, environment.glob("lib/python3*/site-packages/nvidia/*/lib")))
        variables = {
            "PYTHONPATH": os.pathsep.join(str(REPOSITORY / "images" / name) for name in ("base", room)),
            "LD_LIBRARY_PATH": os.pathsep.join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]).strip(os.pathsep),
            "NIGHTREEL_MODELS": str((self._models / room).resolve()),
            THREADS_VARIABLE: str(self._threads),
            "HF_HUB_OFFLINE": "1",
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_VERBOSE": "false",
            "YOLO_CONFIG_DIR": str(self._results.resolve()),
        }
        return subprocess.run(
            [environment / "bin" / "python", *arguments],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _request(stage: Stage, setting: Setting, media: Sequence[Medium], number: int) -> StageRequest:
    parameters: dict[str, JsonValue] = PARAMETERS[stage]().model_dump(mode="json")
    items = tuple(
        RequestItem(
            asset_id=medium.asset_id,
            source=str(medium.path).lstrip("/"),
            size_bytes=medium.path.stat().st_size,
            mtime_ns=medium.path.stat().st_mtime_ns,
            fingerprint=fingerprint(stage, f"run {number}", (), setting.compute_type, parameters, {}),
            inputs={INPUTS[stage][0]: PREPARED},
        )
        for medium in media
    )
    return StageRequest(
        stage=stage,
        task=TaskKey(dag_id="compare_devices", run_id=setting.name, task_id=stage.replace(".", "_"), try_number=1),
        variant=setting.variant,
        device=setting.device,
        compute_type=setting.compute_type,
        batch_size=setting.batch_size,
        parameters=parameters,
        submitted_at=datetime.now(UTC),
        items=items,
    )
