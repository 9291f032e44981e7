"""One asset's way through decoding, the measures and the models: each frame is decoded once, for all of them."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from stage_contract.models import MODELS_DIR, ModelRef
from stage_contract.outputs import (
    CONTACT_SHEET_FILE,
    FRAMES_FILE,
    VISION_FILE,
    Detection,
    Frame,
    ProbeOutput,
    TextLine,
    VideoStream,
    VisionOutput,
)
from stage_contract.parameters import AnalyzeParameters
from stage_contract.phases import PhaseAccumulator, PhaseRecorder
from stage_contract.vocabulary import Phase
from stage_contract.workspace import ItemWorkspace
from vision_stage.contact_sheet import ContactSheet
from vision_stage.decoding import DecodedFrame, FrameReader
from vision_stage.detection import ObjectDetector
from vision_stage.device import ComputeDevice
from vision_stage.embedding import ClipEncoder, rounded
from vision_stage.ocr import TextReader
from vision_stage.quality import Quality, measure_quality, signature_distance
from vision_stage.sampling import SampleGrid, widened_interval_s
from vision_stage.shots import ShotDetector

TURNS = (
    Phase.DECODE,
    Phase.SHOT_DETECTION,
    Phase.QUALITY,
    Phase.CLIP,
    Phase.DETECTION,
    Phase.OCR,
    Phase.WRITE,
)
"""The phases that come in turns, a batch of frames at a time."""


@dataclass(frozen=True)
class Models:
    """What is loaded once per container. `reader` is absent when no text is to be read."""

    device: ComputeDevice
    clip: ClipEncoder
    detector: ObjectDetector
    reader: TextReader | None
    threads: int


@dataclass(frozen=True)
class Sample:
    """A sampled frame and the shot it belongs to."""

    index: int
    time_s: float
    shot_index: int
    picture: np.ndarray


def load_models(
    device: ComputeDevice, models: Mapping[str, ModelRef], read_text: bool, threads: int, models_dir: Path = MODELS_DIR
) -> Models:
    """Load CLIP, the detector and, where wanted, the text reader."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    return Models(
        device=device,
        clip=ClipEncoder(models["clip"], models_dir, device),
        detector=ObjectDetector(models["detector"], models_dir, device),
        reader=TextReader(threads) if read_text else None,
        threads=threads,
    )


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
        self._shots = ShotDetector()
        self._sheet = ContactSheet()
        self._samples = 0
        self._end_s = 0.0
        self._signature: np.ndarray | None = None

    def run(self, source: Path) -> None:
        """Write `frames.jsonl`, `contact_sheet.jpg` and `vision.json`.

        Raises:
            ItemRejected: the stream cannot be decoded.
        """
        most = self._parameters.max_frames
        interval_s = widened_interval_s(self._parameters.interval_s, self._duration_s, most)
        grid = SampleGrid(interval_s, most)
        with contextlib.ExitStack() as stack:
            turns = {phase: stack.enter_context(self._phases.accumulate(phase, self._asset_id)) for phase in TURNS}
            self._follow(source, grid, turns)
            with self._phases.measure(Phase.CONTACT_SHEET, self._asset_id) as counters:
                counters["images"] = self._sheet.write(self._workspace.new_file(CONTACT_SHEET_FILE))
            with turns[Phase.WRITE].turn():
                self._keep(interval_s)

    def _follow(self, source: Path, grid: SampleGrid, turns: Mapping[Phase, PhaseAccumulator]) -> None:
        with contextlib.ExitStack() as stack:
            with turns[Phase.DECODE].turn():
                container, threads = self._probe.container, self._models.threads
                reader = FrameReader(source, container, self._stream, self._duration_s, grid, threads)
                stack.enter_context(reader)
            file = stack.enter_context(self._workspace.new_file(FRAMES_FILE).open("w", encoding="utf-8"))
            while chunk := self._next_chunk(reader, turns[Phase.DECODE]):
                samples = self._follow_shots(chunk, turns[Phase.SHOT_DETECTION])
                if samples:
                    frames = self._analyse(samples, turns)
                    with turns[Phase.WRITE].turn() as counters:
                        _count(counters, frames=len(frames))
                        file.writelines(frame.model_dump_json() + "\n" for frame in frames)

    def _next_chunk(self, reader: FrameReader, phase: PhaseAccumulator) -> list[DecodedFrame]:
        with phase.turn() as counters:
            chunk = reader.next_chunk(self._models.device.batch_size)
            counters["frames"] = reader.frames
            counters["images"] = counters.get("images", 0) + sum(f.picture is not None for f in chunk)
            counters["damaged_packets"] = reader.damaged_packets
        return chunk

    def _follow_shots(self, chunk: Sequence[DecodedFrame], phase: PhaseAccumulator) -> list[Sample]:
        samples = []
        with phase.turn() as counters:
            for frame in chunk:
                before = frame.signature if self._signature is None else self._signature
                shot_index = self._shots.add(frame.time_s, signature_distance(before, frame.signature))
                self._signature, self._end_s = frame.signature, frame.end_s
                if frame.picture is not None:
                    samples.append(Sample(self._samples, frame.time_s, shot_index, frame.picture))
                    self._samples += 1
            counters["frames"] = counters.get("frames", 0) + len(chunk)
        return samples

    def _analyse(self, samples: Sequence[Sample], turns: Mapping[Phase, PhaseAccumulator]) -> list[Frame]:
        pictures = [sample.picture for sample in samples]
        height_px, width_px = pictures[0].shape[:2]
        scale = (self._stream.width_px / width_px, self._stream.height_px / height_px)
        qualities = self._measure(samples, turns[Phase.QUALITY])
        with turns[Phase.CLIP].turn() as counters:
            _count(counters, images=len(pictures))
            embeddings = self._models.clip.encode(pictures)
            tags, vectors = self._models.clip.tags(embeddings), rounded(embeddings)
        detections = self._detect(pictures, scale, turns[Phase.DETECTION])
        texts = self._read(pictures, scale, turns[Phase.OCR])
        return [
            Frame(
                index=sample.index,
                time_s=round(sample.time_s, 3),
                shot_index=sample.shot_index,
                brightness=quality.brightness,
                contrast=quality.contrast,
                sharpness=quality.sharpness,
                colors=quality.colors,
                detections=detected,
                tags=tagged,
                text=text,
                embedding=vector,
            )
            for sample, quality, detected, tagged, text, vector in zip(
                samples, qualities, detections, tags, texts, vectors, strict=True
            )
        ]

    def _measure(self, samples: Sequence[Sample], phase: PhaseAccumulator) -> list[Quality]:
        with phase.turn() as counters:
            _count(counters, images=len(samples))
            for sample in samples:
                self._sheet.add(sample.time_s, sample.picture)
            return [measure_quality(sample.picture) for sample in samples]

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
            found = [reader.read(picture, scale) for picture in pictures]
            _count(counters, images=len(pictures), lines=sum(map(len, found)))
        return found

    def _keep(self, interval_s: float) -> None:
        clip, detector = self._models.clip, self._models.detector
        self._workspace.keep(FRAMES_FILE)
        self._workspace.keep(CONTACT_SHEET_FILE)
        output = VisionOutput(
            stream_index=self._stream.index,
            width_px=self._stream.width_px,
            height_px=self._stream.height_px,
            interval_s=interval_s,
            frame_count=self._samples,
            shots=self._shots.shots(self._end_s),
            embedding_model=clip.name,
            embedding_dimensions=clip.dimensions,
            embedding_trained=clip.trained,
            detector_model=detector.name,
        )
        self._workspace.write_json(VISION_FILE, output)


def _count(counters: dict[str, float], **more: float) -> None:
    for name, number in more.items():
        counters[name] = counters.get(name, 0) + number
