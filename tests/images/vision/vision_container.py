"""Runs the vision image as the operator does: no network, read-only root, no capabilities, limits."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from stage_contract.outputs import FRAMES_FILE, PROBE_FILE, VISION_FILE, Frame, ProbeOutput, VisionOutput
from stage_contract.parameters import AnalyzeParameters
from stage_contract.phases import PHASES_FILE, PhaseRecord, read_phases
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.result import OUTCOME_FILE, ItemResult, StageOutcome, read_result, result_dir
from stage_contract.vocabulary import Phase, Stage, Variant

IMAGE = os.environ.get("NIGHTREEL_VISION_IMAGE", "nightreel/vision:cpu")
TESTS = Path(__file__).parent
CONVERTERS = TESTS.parents[2] / "images" / "vision" / "converters"
PROBE_FINGERPRINT = "1" * 24
FINGERPRINT = "2" * 24
RESTRICTIONS = (
    *("--rm", "--network=none", "--read-only", "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size=256m", "--user=10001"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=3g", "--memory-swap=3g", "--cpus=2"),
    *("--pids-limit=256", "--env=OMP_NUM_THREADS=2"),
)


def run_docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Docker client and return what it said, whatever its exit code."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=600)


def run_script(name: str, folder: Path) -> str:
    """Run a script of this folder inside the image with `folder` as its argument; returns what it printed."""
    folder.chmod(0o777)
    mounts = (f"--volume={TESTS}:/tests:ro", f"--volume={CONVERTERS}:/converters:ro", f"--volume={folder}:/out")
    script = ("--entrypoint=python", IMAGE, f"/tests/{name}", "/out")
    done = run_docker("run", *RESTRICTIONS, *mounts, *script)
    if done.returncode != 0:
        raise RuntimeError(f"{name} must succeed in {IMAGE}: {done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Finished:
    """What one container left behind. Clips are named by their file names."""

    exit_code: int
    log: str
    outcome: StageOutcome
    phases: tuple[PhaseRecord, ...]
    results: Path
    asset_ids: Mapping[str, str]

    def directory(self, clip: str) -> Path:
        """Where the result of a clip is."""
        return result_dir(self.results, self.asset_ids[clip], Stage.ANALYZE, FINGERPRINT)

    def result(self, clip: str) -> ItemResult:
        """The complete result of a clip."""
        result = read_result(self.directory(clip))
        assert result is not None, f"{clip} has no complete result: {self.log}"
        return result

    def vision(self, clip: str) -> VisionOutput:
        """What `vision.json` says of a clip."""
        return VisionOutput.model_validate_json((self.directory(clip) / VISION_FILE).read_bytes())

    def frames(self, clip: str) -> list[Frame]:
        """The sampled frames of a clip."""
        lines = (self.directory(clip) / FRAMES_FILE).read_text(encoding="utf-8").splitlines()
        return [Frame.model_validate_json(line) for line in lines]

    def phase(self, phase: Phase, clip: str | None = None) -> PhaseRecord:
        """The one line of a phase; of a clip, or of the shard."""
        asset_id = self.asset_ids[clip] if clip else None
        (record,) = [r for r in self.phases if r.phase is phase and r.asset_id == asset_id]
        return record


def analyse(
    folder: Path,
    clips: Path,
    names: Sequence[str],
    *,
    variant: Variant = Variant.CPU,
    compute_type: str = "float32",
    models: Path | None = None,
    **parameters: JsonValue,
) -> Finished:
    """Analyse clips in one container. `folder` takes requests and results; `models` replaces the image's."""
    work, results = folder / "work", folder / "results"
    work.mkdir()
    work.chmod(0o777)
    mounts = [f"{clips}:/media/archive:ro", f"{results}:/results:ro", f"{work}:/work"]
    mounts += [f"{models}:/opt/models:ro"] if models else []
    items = {name: _item(results, clips, name) for name in names}
    for item in items.values():
        own = f"assets/{item.asset_id}/{Stage.ANALYZE}"
        (results / own).mkdir()
        (results / own).chmod(0o777)
        mounts.append(f"{results / own}:/results/{own}")
    request = StageRequest(
        stage=Stage.ANALYZE,
        task=TaskKey(dag_id="process_media", run_id="test", task_id="vision_analyze", try_number=1),
        variant=variant,
        compute_type=compute_type,
        parameters=AnalyzeParameters.model_validate(parameters).model_dump(mode="json"),
        submitted_at=datetime.now(UTC),
        items=tuple(items.values()),
    )
    (work / "request.json").write_text(request.model_dump_json())
    volumes = [f"--volume={mount}" for mount in mounts]
    done = run_docker("run", *RESTRICTIONS, *volumes, IMAGE, "--request", "/work/request.json")
    return Finished(
        exit_code=done.returncode,
        log=done.stdout + done.stderr,
        outcome=StageOutcome.model_validate_json((work / OUTCOME_FILE).read_bytes()),
        phases=tuple(read_phases(work / PHASES_FILE)),
        results=results,
        asset_ids={name: item.asset_id for name, item in items.items()},
    )


def _item(results: Path, clips: Path, name: str) -> RequestItem:
    clip = clips / name
    said = (clips / f"{name}.probe.json").read_text()
    asset_id = ProbeOutput.model_validate_json(said).sha256
    probe = result_dir(results, asset_id, Stage.PROBE, PROBE_FINGERPRINT)
    probe.mkdir(parents=True)
    (probe / PROBE_FILE).write_text(said)
    return RequestItem(
        asset_id=asset_id,
        source=f"archive/{name}",
        size_bytes=clip.stat().st_size,
        mtime_ns=clip.stat().st_mtime_ns,
        fingerprint=FINGERPRINT,
        inputs={Stage.PROBE: PROBE_FINGERPRINT},
    )
