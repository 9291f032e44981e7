"""Runs the audio image as the operator does: no network, read-only root, no capabilities, limits."""

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from stage_contract.fingerprint import fingerprint
from stage_contract.models import MODELS_LABEL, ModelRef, parse_models
from stage_contract.outputs import AUDIO_FILE, TRANSCRIPT_FILE, Transcript
from stage_contract.parameters import TranscribeParameters
from stage_contract.phases import PHASES_FILE, PhaseRecord, read_phases
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.result import OUTCOME_FILE, ItemResult, StageOutcome, read_result, result_dir
from stage_contract.vocabulary import Phase, Stage, Variant

IMAGE = os.environ.get("NIGHTREEL_AUDIO_IMAGE", "nightreel/audio:cpu")
THREADS = 2
MEMORY_MIB = 2048
TESTS = Path(__file__).parent
RESTRICTIONS = [
    *("--network", "none", "--read-only", "--tmpfs", "/tmp:rw,noexec,nosuid,nodev,size=1024m"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "10001:10001"),
    *("--memory", f"{MEMORY_MIB}m", "--memory-swap", f"{MEMORY_MIB}m", "--cpus", str(THREADS), "--pids-limit", "256"),
    *("--env", f"OMP_NUM_THREADS={THREADS}"),
]


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Docker client and return what it said, whatever its exit code."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


def image_models() -> tuple[ModelRef, ...]:
    """The models that the image's label names."""
    done = docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{MODELS_LABEL}"}}}}', IMAGE)
    if done.returncode != 0:
        raise RuntimeError(f"the image {IMAGE} must be built before these tests: {done.stderr.strip()}")
    return tuple(parse_models(done.stdout).values())


def make_sound(target: Path, *parts: str, source: Path | None = None) -> None:
    """Write a FLAC file like that of media.extract; see make_sound.py for the parts. `source` is at /source."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mounts = ["--volume", f"{target.parent}:/out", "--volume", f"{TESTS}:/tests:ro"]
    if source:
        mounts += ["--volume", f"{source}:/source:ro"]
    user = f"{os.getuid()}:{os.getgid()}"
    script = ["/tests/make_sound.py", f"/out/{target.name}", *parts]
    done = docker(
        *("run", "--rm", "--network", "none", "--user", user, "--entrypoint", "python"), *mounts, IMAGE, *script
    )
    if done.returncode != 0:
        raise RuntimeError(f"{target.name} could not be made: {done.stderr}")


@dataclass(frozen=True)
class Attempt:
    """What one container left behind."""

    exit_code: int
    output: str
    outcome: StageOutcome
    phases: tuple[PhaseRecord, ...]

    def phase(self, phase: Phase) -> PhaseRecord:
        """The one line of `phase`."""
        (record,) = [record for record in self.phases if record.phase is phase]
        return record


@dataclass
class Archive:
    """Results on disk, below `root`, of assets whose sound stands ready."""

    root: Path
    sounds: dict[str, str] = field(default_factory=dict)
    attempts: int = 0

    @property
    def results(self) -> Path:
        return self.root / "results"

    def add(self, name: str, *parts: str, source: Path | None = None) -> str:
        """Make an asset with this sound; returns its id."""
        asset_id = hashlib.sha256(name.encode()).hexdigest()
        extract = hashlib.sha256(f"extract {name}".encode()).hexdigest()[:24]
        make_sound(result_dir(self.results, asset_id, Stage.EXTRACT, extract) / AUDIO_FILE, *parts, source=source)
        self.sounds[asset_id] = extract
        return asset_id

    def request(
        self,
        *asset_ids: str,
        variant: Variant = Variant.CPU,
        compute_type: str = "int8",
        **parameters: JsonValue,
    ) -> StageRequest:
        """A request for these assets, fingerprints and defaults filled in as the operator does it."""
        full = TranscribeParameters.model_validate(parameters).model_dump(mode="json")
        items = []
        for asset_id in asset_ids:
            inputs = {Stage.EXTRACT: self.sounds[asset_id]}
            name = fingerprint(Stage.TRANSCRIBE, "1", image_models(), compute_type, full, inputs)
            items.append(
                RequestItem(
                    asset_id=asset_id,
                    source=f"archive/{asset_id[:8]}.mp4",
                    size_bytes=1,
                    mtime_ns=1,
                    fingerprint=name,
                    inputs=inputs,
                )
            )
        return StageRequest(
            stage=Stage.TRANSCRIBE,
            task=TaskKey(dag_id="process_media", run_id="test", task_id="audio_transcribe", try_number=1),
            variant=variant,
            compute_type=compute_type,
            parameters=full,
            submitted_at=datetime.now(UTC),
            items=tuple(items),
        )

    def run(self, request: StageRequest, models: Path | None = None) -> Attempt:
        """Run the image on `request` under the restrictions it has in production, with its own models or these."""
        self.attempts += 1
        work = self.root / "work" / str(self.attempts)
        work.mkdir(parents=True)
        work.chmod(0o777)
        (work / "request.json").write_text(request.model_dump_json())
        media = self.root / "media"
        media.mkdir(exist_ok=True)
        mounts = [f"{media}:/media:ro", f"{self.results}:/results:ro", f"{work}:/work"]
        if models:
            mounts.append(f"{models}:/opt/models:ro")
        for item in request.items:
            own = f"assets/{item.asset_id}/{request.stage}"
            (self.results / own).mkdir(exist_ok=True)
            (self.results / own).chmod(0o777)
            mounts.append(f"{self.results / own}:/results/{own}")
        volumes = [argument for mount in mounts for argument in ("--volume", mount)]
        done = docker("run", "--rm", *RESTRICTIONS, *volumes, IMAGE, "--request", "/work/request.json")
        return Attempt(
            exit_code=done.returncode,
            output=done.stdout + done.stderr,
            outcome=StageOutcome.model_validate(json.loads((work / OUTCOME_FILE).read_text())),
            phases=tuple(read_phases(work / PHASES_FILE)),
        )

    def directory(self, request: StageRequest, asset_id: str) -> Path:
        """Where the result of this asset is."""
        (item,) = [item for item in request.items if item.asset_id == asset_id]
        return result_dir(self.results, asset_id, request.stage, item.fingerprint)

    def result(self, request: StageRequest, asset_id: str) -> ItemResult:
        """The complete result of this asset."""
        result = read_result(self.directory(request, asset_id))
        if result is None:
            raise RuntimeError(f"{asset_id[:8]} must have a complete result, and has none")
        return result

    def transcript(self, request: StageRequest, asset_id: str) -> Transcript:
        """What was said in this asset."""
        return Transcript.model_validate_json((self.directory(request, asset_id) / TRANSCRIPT_FILE).read_bytes())
