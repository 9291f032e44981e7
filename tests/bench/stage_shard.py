"""Some files on their way through the stages, in containers as production starts them. Nothing is ever reused."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from operators.errors import NightreelError
from operators.routing import IMAGES, INPUTS
from operators.settings import ContainerLimits
from stage_contract.outputs import FRAMES_FILE, TRANSCRIPT_FILE, Frame, Transcript
from stage_contract.phases import PhaseRecord
from stage_contract.request import StageRequest
from stage_contract.vocabulary import ExitCode, Phase, Stage, Variant
from tests.stage_container import LIMITS, Ended, Finished, StageBench, run_program

SAID = 2000
"""Characters of a failed container's log that are told, from its end."""

TELL_COMPUTE_TYPES = (
    "import json; from stage_contract.resources import DEFAULT_COMPUTE_TYPE as types; "
    "print(json.dumps({stage: name for (stage, variant), name in types.items() if variant == 'cpu'}))"
)


class BenchFailed(NightreelError):
    """A side of a comparison did not do its work."""


@dataclass(frozen=True)
class StageImages:
    """The stages' images for the CPU under one prefix: `nightreel` for `nightreel/audio:cpu` and so on."""

    prefix: str = "nightreel"

    def name(self, stage: Stage) -> str:
        """The image of a stage."""
        return f"{self.prefix}/{IMAGES[stage]}:{Variant.CPU}"

    def compute_type(self, stage: Stage) -> str:
        """What the image's own contract computes the stage in when nobody chose."""
        return _compute_types(self.name(stage))[stage]


OURS = StageImages()


class StageShard:
    """Files of an archive, one container a stage for all of them. `limits` are each container's."""

    def __init__(self, root: Path, archive: Path, names: Sequence[str], limits: ContainerLimits = LIMITS) -> None:
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)
        self._bench = StageBench(root, archive, limits)
        self._names = tuple(names)
        self._latest: dict[Stage, Finished] = {}
        self._runs = 0

    def run(self, stage: Stage, images: StageImages = OURS, **parameters: JsonValue) -> Finished:
        """Run a stage once on all files. What it makes is what later stages read.

        Raises:
            BenchFailed: it did not do all of them.
        """
        earlier = [self._latest[needed] for needed in INPUTS[stage]]
        sources = [self._bench.source(name, *earlier) for name in self._names]
        compute_type = images.compute_type(stage)
        request = _anew(self._bench.request(stage, sources, parameters, compute_type=compute_type), self._runs)
        self._runs += 1
        finished = self._bench.run(request, image=images.name(stage))
        if finished.exit_code != ExitCode.DONE:
            raise BenchFailed(
                f"{stage} of {images.prefix} must do all files: exit {finished.exit_code}, {finished.outcome.message}\n"
                f"{finished.log[-SAID:]}"
            )
        self._latest[stage] = finished
        return finished

    def run_all(self, stages: Sequence[Stage], images: StageImages = OURS) -> dict[Stage, Finished]:
        """Run stages one after another, with their default parameters."""
        return {stage: self.run(stage, images) for stage in stages}


def run_plain(image: str, command: Sequence[str], *volumes, **variables: str) -> dict[str, Any]:
    """What a program in an image printed as its last line, JSON.

    Raises:
        BenchFailed: it failed.
    """
    told: dict[str, Any] = json.loads(
        checked(run_program(image, command, *volumes, **variables)).stdout.splitlines()[-1]
    )
    return told


def checked(ended: Ended) -> Ended:
    """The same.

    Raises:
        BenchFailed: it did not end with exit 0.
    """
    if ended.exit_code:
        raise BenchFailed(f"a program must end with exit 0: {ended.exit_code}\n{ended.stderr[-SAID:]}")
    return ended


def item_seconds(finished: Finished, name: str) -> float:
    """From the first phase of a file to the end of its last one. Starting, imports and models are not in it."""
    asset_id = finished.item(name).asset_id
    return _wall_s([record for record in finished.phases if record.asset_id == asset_id])


def container_seconds(finished: Finished) -> float:
    """From asking for the container to the end of its last phase."""
    ended_at = max(_ended_at(record) for record in finished.phases)
    return (ended_at - finished.request.submitted_at).total_seconds()


def phase_seconds(finished: Finished) -> dict[Phase, float]:
    """The time worked in each phase, over all files. Phases run beside each other, so the sum says little."""
    seconds: dict[Phase, float] = {}
    for record in finished.phases:
        seconds[record.phase] = seconds.get(record.phase, 0.0) + record.duration_s
    return seconds


def peak_rss_mib(finished: Finished) -> float:
    """The most resident memory of any phase."""
    return max(record.peak_rss_mib or 0.0 for record in finished.phases)


def frames(finished: Finished, name: str) -> list[Frame]:
    """What vision.analyze found, frame by frame."""
    lines = (finished.directory(name) / FRAMES_FILE).read_text(encoding="utf-8").splitlines()
    return [Frame.model_validate_json(line) for line in lines]


def transcript(finished: Finished, name: str) -> Transcript:
    """What audio.transcribe heard."""
    return finished.output(name, TRANSCRIPT_FILE, Transcript)


def _anew(request: StageRequest, run: int) -> StageRequest:
    """The request under fingerprints of its own, so that no result of an earlier run is reused."""
    items = tuple(
        item.model_copy(
            update={"fingerprint": hashlib.sha256(f"{item.fingerprint} {run}".encode()).hexdigest()[:24]},
        )
        for item in request.items
    )
    return request.model_copy(update={"items": items})


def _wall_s(records: Sequence[PhaseRecord]) -> float:
    return (max(map(_ended_at, records)) - min(record.started_at for record in records)).total_seconds()


def _ended_at(record: PhaseRecord) -> datetime:
    return record.started_at + timedelta(seconds=record.span_s)


@cache
def _compute_types(image: str) -> dict[str, str]:
    return run_plain(image, ["python", "-c", TELL_COMPUTE_TYPES])
