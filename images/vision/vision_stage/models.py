"""What is loaded once per container."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from stage_contract.models import MODELS_DIR, ModelRef
from vision_stage.detection import ObjectDetector
from vision_stage.device import ComputeDevice
from vision_stage.embedding import ClipEncoder
from vision_stage.ocr import TextReader


@dataclass(frozen=True)
class Models:
    """The models, and how many pictures and threads they compute with. `reader`: none when no text is to be read."""

    device: ComputeDevice
    clip: ClipEncoder
    detector: ObjectDetector
    reader: TextReader | None
    threads: int


def load_models(
    device: ComputeDevice, models: Mapping[str, ModelRef], read_text: bool, threads: int, models_dir: Path = MODELS_DIR
) -> Models:
    """Load CLIP, the detector and, where wanted, the text reader."""
    cv2.setNumThreads(threads)
    return Models(
        device=device,
        clip=ClipEncoder(models["clip"], models_dir, device),
        detector=ObjectDetector(models["detector"], models_dir, device),
        reader=TextReader(models_dir, threads) if read_text else None,
        threads=threads,
    )
