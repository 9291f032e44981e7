"""Text in pictures, read by PP-OCR. OpenVINO computes it, on the CPU in both variants."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import openvino as ov

from stage_contract.outputs import Box, TextLine
from vision_stage.openvino_device import FLOAT32, OpenVinoNetwork
from vision_stage.text_boxes import cut_out, text_boxes
from vision_stage.text_lines import decoded, direction_input, recognition_batches, upright

TEXT_DIR = "text"
SHORTER_SIDE_PX = 736
STRIDE_PX = 32
LEAST_CONFIDENCE = 0.5


class TextReader:
    """PP-OCR detection, direction and recognition, with rapidocr's numbers."""

    def __init__(self, models_dir: Path, threads: int) -> None:
        core, directory = ov.Core(), models_dir / TEXT_DIR
        self._detection, self._direction, self._recognition = (
            OpenVinoNetwork(core, directory / f"{name}.xml", FLOAT32, threads)
            for name in ("detection", "direction", "recognition")
        )
        self._characters = ["", *json.loads((directory / "characters.json").read_text()), " "]

    def read_all(self, pictures: Sequence[np.ndarray], scale: tuple[float, float]) -> list[tuple[TextLine, ...]]:
        """Lines of text in each of some RGB pictures of the same size, uint8, (height, width, 3).

        `scale` is what the pictures' pixels are multiplied by, across and down, to give the frame's.
        """
        height_px, width_px = pictures[0].shape[:2]
        blue_first = [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures]
        maps = self._detection.compute_each([detection_input(picture) for picture in blue_first])
        boxes = [text_boxes(probabilities[0, 0], width_px, height_px) for (probabilities,) in maps]
        lines = [[cut_out(picture, box) for box in found] for picture, found in zip(blue_first, boxes, strict=True)]
        return [
            tuple(
                TextLine(text=text, confidence=round(confidence, 4), box=_box(box, scale))
                for box, (text, confidence) in zip(found, told, strict=True)
                if confidence >= LEAST_CONFIDENCE and text.strip()
            )
            for found, told in zip(boxes, self._recognized(lines), strict=True)
        ]

    def _recognized(self, pictures: Sequence[Sequence[np.ndarray]]) -> list[list[tuple[str, float]]]:
        """Text and confidence of the lines of each picture. Lines of one picture only share a batch."""
        turned = [self._upright(lines) for lines in pictures]
        batches = [(picture, *batch) for picture, lines in enumerate(turned) for batch in recognition_batches(lines)]
        told: list[list[tuple[str, float]]] = [[("", 0.0)] * len(lines) for lines in turned]
        outputs = self._recognition.compute_each([batch for _, _, batch in batches])
        for (picture, numbers, _), (probabilities,) in zip(batches, outputs, strict=True):
            for number, line in zip(numbers, probabilities, strict=True):
                told[picture][number] = decoded(line, self._characters)
        return told

    def _upright(self, lines: Sequence[np.ndarray]) -> list[np.ndarray]:
        if not lines:
            return []
        ((directions,),) = self._direction.compute_each([direction_input(lines)])
        return upright(lines, directions)


def detection_input(picture: np.ndarray) -> np.ndarray:
    """A picture with its shorter side at 736 px or more, and sides that 32 divides, (1, height, width, 3)."""
    height_px, width_px = picture.shape[:2]
    factor = max(1.0, SHORTER_SIDE_PX / min(height_px, width_px))
    width, height = (round(int(side * factor) / STRIDE_PX) * STRIDE_PX for side in (width_px, height_px))
    return cv2.resize(picture, (width, height))[None]


def _box(corners: np.ndarray, scale: tuple[float, float]) -> Box:
    left, top = corners.min(axis=0) * scale
    right, bottom = corners.max(axis=0) * scale
    return Box(
        x_px=round(float(left), 1),
        y_px=round(float(top), 1),
        width_px=round(float(right - left), 1),
        height_px=round(float(bottom - top), 1),
    )
