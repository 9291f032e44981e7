"""Runs in the vision image: `python compare_decoding.py CLIPS`, one line of JSON.

For each moving clip: what every frame decoded and compared would give, what the stage finds, and what it would find
with one of its rules broken.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import av
import numpy as np

from stage_contract.outputs import ProbeOutput
from stage_contract.phases import PhaseRecorder
from stage_contract.vocabulary import Phase
from vision_stage import decoding, shots
from vision_stage.groups import Group
from vision_stage.pictures import FrameConverter
from vision_stage.preparation import Preparation, Source
from vision_stage.quality import signature_distance
from vision_stage.sampling import SampleGrid

INTERVAL_S = 0.34
CLIPS = ("moving.mp4", "moving on.mp4", "moving open.mkv", "moving.mkv", "moving.avi", "moving.mov")


@dataclass(frozen=True)
class Film:
    """When shots start, s, the pictures of the samples by their times, and how many frames were decoded."""

    starts: list[float]
    samples: dict[float, np.ndarray | None]
    frames: int


def exhaustive(clip: Path, probe: ProbeOutput) -> Film:
    """Every frame decoded by one thread, and compared with the one before it."""
    (stream,) = probe.video
    converter, grid = FrameConverter(stream), SampleGrid(INTERVAL_S, 1000)
    starts, before, frames = [0.0], None, 0
    samples: dict[float, np.ndarray | None] = {}
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            time_s = frame.time - (container.start_time or 0) / 1e6
            signature = converter.signature(frame)
            is_cut = before is not None and signature_distance(before, signature) >= shots.CUT_DISTANCE
            if is_cut and time_s - starts[-1] >= shots.SHORTEST_SHOT_S:
                starts.append(round(time_s, 3))
            if grid.takes(time_s):
                samples[round(time_s, 3)] = converter.picture(frame)
            before, frames = signature, frames + 1
    return Film(starts, samples, frames)


def found(clip: Path, probe: ProbeOutput) -> Film:
    """What the stage finds before models look."""
    (stream,) = probe.video
    recorder = PhaseRecorder(Path("/dev/null"))
    phases = {p: recorder.accumulate(p) for p in (Phase.DECODE, Phase.SHOT_DETECTION, Phase.QUALITY)}
    source = Source(clip, probe.container, stream, probe.duration_s)
    preparation = Preparation(source, SampleGrid(INTERVAL_S, 1000), 2, phases)
    samples = {round(s.time_s, 3): s.picture for batch in preparation.batches(8) for s in batch}
    starts = [shot.start_s for shot in preparation.shots()]
    return Film(starts, samples, int(phases[Phase.DECODE].counters["frames"]))


@contextlib.contextmanager
def nothing_asked_for() -> Iterator[None]:
    """Frames that were left out are never asked for, and so none is found to be a cut."""
    with mock.patch.object(decoding.FrameReader, "between", return_value=[]):
        yield


@contextlib.contextmanager
def references_left_out() -> Iterator[None]:
    """A sample is decoded without what it refers to."""
    with mock.patch.object(Group, "last_needed", return_value=1):
        yield


def main(folder: Path) -> None:
    told = {}
    for name in CLIPS:
        clip = folder / name
        probe = ProbeOutput.model_validate_json((folder / f"{name}.probe.json").read_text())
        expected = exhaustive(clip, probe)
        told[name] = {"all frames": described(expected, expected)}
        told[name]["stage"] = described(found(clip, probe), expected)
        for broken in (nothing_asked_for, references_left_out):
            with broken():
                told[name][broken.__name__] = described(found(clip, probe), expected)
    print(json.dumps(told))


def described(one: Film, other: Film) -> dict[str, object]:
    same = list(one.samples) == list(other.samples) and all(
        picture is None or np.array_equal(picture, other.samples[time_s]) for time_s, picture in one.samples.items()
    )
    return {"starts": one.starts, "frames": one.frames, "samples": len(one.samples), "same_pictures": same}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
