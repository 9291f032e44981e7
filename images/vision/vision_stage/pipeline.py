"""One asset's way through decoding, the measures and the models: each frame is decoded once, for all of them."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stage_contract.outputs import (
    CONTACT_SHEET_FILE,
    FRAMES_FILE,
    VISION_FILE,
    Detection,
    Frame,
    ProbeOutput,
    Tag,
    TextLine,
    VideoStream,
    VisionOutput,
)
from stage_contract.parameters import AnalyzeParameters
from stage_contract.phases import DeviceMeter, PhaseAccumulator, PhaseRecorder
from stage_contract.vocabulary import Phase
from stage_contract.workspace import ItemWorkspace
from vision_stage.ahead import Ahead
from vision_stage.embedding import rounded
from vision_stage.models import Models
from vision_stage.preparation import Preparation, Sample, Source
from vision_stage.sampling import SampleGrid, widened_interval_s

PREPARING = (Phase.DECODE, Phase.SHOT_DETECTION, Phase.QUALITY)
LOOKING = (Phase.CLIP, Phase.DETECTION, Phase.OCR, Phase.WRITE)
"""The phases that come in turns. While the models look at one batch of pictures, the next is prepared."""


@dataclass(frozen=True)
class Seen:
    """What the models find in a picture."""

    detections: tuple[Detection, ...]
    tags: tuple[Tag, ...]
    text: tuple[TextLine, ...]
    embedding: tuple[float, ...]


class AssetAnalysis:
    """Analyses one asset. Memory does not grow with its length."""

    def __init__(
        self,
        models: Models,
        parameters: AnalyzeParameters,
        probe: ProbeOutput,
        stream: VideoStream,
        workspace: ItemWorkspace,
        phases: PhaseRecorder,
    ) -> None:
        self._models = models
        self._parameters = parameters
        self._probe = probe
        self._stream = stream
        self._workspace = workspace
        self._phases = phases
        self._asset_id = workspace.item.asset_id
        self._duration_s = stream.duration_s or probe.duration_s
        self._seen: Seen | None = None

    def run(self, source: Path) -> None:
        """Write `frames.jsonl`, `contact_sheet.jpg` and `vision.json`.

        Raises:
            ItemRejected: the stream cannot be decoded.
        """
        most = self._parameters.max_frames
        interval_s = widened_interval_s(self._parameters.interval_s, self._duration_s, most)
        with contextlib.ExitStack() as stack:
            # What prepares has nothing on the device, and must not wait for it.
            turns = {
                phase: stack.enter_context(self._phases.accumulate(phase, self._asset_id, meter))
                for phases, meter in ((PREPARING, DeviceMeter()), (LOOKING, None))
                for phase in phases
            }
            video = Source(source, self._probe.container, self._stream, self._duration_s)
            preparation = Preparation(video, SampleGrid(interval_s, most), self._models.threads, turns)
            self._look(preparation, turns)
            with self._phases.measure(Phase.CONTACT_SHEET, self._asset_id) as counters:
                counters["images"] = preparation.sheet.write(self._workspace.new_file(CONTACT_SHEET_FILE))
            with turns[Phase.WRITE].turn():
                self._keep(interval_s, preparation)

    def _look(self, preparation: Preparation, turns: Mapping[Phase, PhaseAccumulator]) -> None:
        with (
            self._workspace.new_file(FRAMES_FILE).open("w", encoding="utf-8") as file,
            Ahead(preparation.batches(self._models.device.batch_size)) as batches,
        ):
            for samples in batches:
                frames = self._frames(samples, turns)
                with turns[Phase.WRITE].turn() as counters:
                    _count(counters, frames=len(frames))
                    file.writelines(frame.model_dump_json() + "\n" for frame in frames)

    def _frames(self, samples: Sequence[Sample], turns: Mapping[Phase, PhaseAccumulator]) -> list[Frame]:
        pictures = [sample.picture for sample in samples if sample.picture is not None]
        found = iter(self._found(pictures, turns) if pictures else ())
        frames = []
        for sample in samples:
            # A picture that shows nothing new has what was found in the last one that did.
            seen = self._seen if sample.picture is None and self._seen else next(found)
            self._seen = seen
            frames.append(_frame(sample, seen))
        return frames

    def _found(self, pictures: Sequence[np.ndarray], turns: Mapping[Phase, PhaseAccumulator]) -> list[Seen]:
        height_px, width_px = pictures[0].shape[:2]
        scale = (self._stream.width_px / width_px, self._stream.height_px / height_px)
        with turns[Phase.CLIP].turn() as counters:
            _count(counters, images=len(pictures))
            embeddings = self._models.clip.encode(pictures)
            tags, vectors = self._models.clip.tags(embeddings), rounded(embeddings)
        detections = self._detect(pictures, scale, turns[Phase.DETECTION])
        texts = self._read(pictures, scale, turns[Phase.OCR])
        return [Seen(*found) for found in zip(detections, tags, texts, vectors, strict=True)]

    def _detect(
        self, pictures: Sequence[np.ndarray], scale: tuple[float, float], phase: PhaseAccumulator
    ) -> list[tuple[Detection, ...]]:
        with phase.turn() as counters:
            found = self._models.detector.detect(pictures, self._parameters.detection_confidence, scale)
            _count(counters, images=len(pictures), detections=sum(map(len, found)))
        return found

    def _read(
        self, pictures: Sequence[np.ndarray], scale: tuple[float, float], phase: PhaseAccumulator
    ) -> list[tuple[TextLine, ...]]:
        reader = self._models.reader
        if reader is None:
            return [()] * len(pictures)
        with phase.turn() as counters:
            found = reader.read_all(pictures, scale)
            _count(counters, images=len(pictures), lines=sum(map(len, found)))
        return found

    def _keep(self, interval_s: float, preparation: Preparation) -> None:
        clip, detector = self._models.clip, self._models.detector
        self._workspace.keep(FRAMES_FILE)
        self._workspace.keep(CONTACT_SHEET_FILE)
        output = VisionOutput(
            stream_index=self._stream.index,
            width_px=self._stream.width_px,
            height_px=self._stream.height_px,
            interval_s=interval_s,
            frame_count=preparation.samples,
            shots=preparation.shots(),
            embedding_model=clip.name,
            embedding_dimensions=clip.dimensions,
            embedding_trained=clip.trained,
            detector_model=detector.name,
        )
        self._workspace.write_json(VISION_FILE, output)


def _frame(sample: Sample, seen: Seen) -> Frame:
    quality = sample.quality
    return Frame(
        index=sample.index,
        time_s=round(sample.time_s, 3),
        shot_index=sample.shot_index,
        brightness=quality.brightness,
        contrast=quality.contrast,
        sharpness=quality.sharpness,
        colors=quality.colors,
        detections=seen.detections,
        tags=seen.tags,
        text=seen.text,
        embedding=seen.embedding,
    )


def _count(counters: dict[str, float], **more: float) -> None:
    for name, number in more.items():
        counters[name] = counters.get(name, 0) + number
