"""Objects in pictures, found by YOLOv8.

The network gives its raw maps; they are decoded here, in float32 whatever the compute type. Overlaps are suppressed
without a time limit, so that a busy machine finds what an idle one finds.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stage_contract.errors import StageError
from stage_contract.models import ModelRef
from stage_contract.outputs import Box, Detection
from vision_stage.device import ComputeDevice

LABELS_FILE = "labels.json"
INPUT_SIDE_PX = 640
STRIDES_PX = (8, 16, 32)
STRIDE_PX = max(STRIDES_PX)
PADDING_GREY = 114
OVERLAP_IOU = 0.7
MOST_DETECTIONS = 300
"""Input side, strides, padding, overlap and count are what ultralytics predicts with by default."""

CLOSE_CALL = 0.02
"""How near the least confidence bfloat16 may have put an object on the wrong side of it.

Measured on 476 frames of nine films: bfloat16 alone agrees with float32 in 99.1 % (F1 at IoU 0.5, least confidence
0.35); with the frames computed again in float32 that have a confidence this near, 13 % of them, in 99.9 %.
"""


@dataclass(frozen=True)
class Letterbox:
    """How a picture was fitted into the network's input: scaled, then padded left and above, px."""

    scale: float
    left_px: int
    top_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Findings:
    """Objects of one picture, surest first: confidences, classes, and corners (objects, 4) in px of the input."""

    confidences: np.ndarray
    classes: np.ndarray
    corners: np.ndarray

    def has_close_call(self, least_confidence: float) -> bool:
        """Whether a confidence is so near the least that another compute type might have put it beyond."""
        return bool((np.abs(self.confidences - least_confidence) < CLOSE_CALL).any())


def letterbox(width_px: int, height_px: int) -> Letterbox:
    """Fit a picture into 640x640, and pad no further than the network's stride asks."""
    scale = INPUT_SIDE_PX / max(width_px, height_px)
    inner_width, inner_height = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    width, height = (-(-side // STRIDE_PX) * STRIDE_PX for side in (inner_width, inner_height))
    return Letterbox(scale, (width - inner_width) // 2, (height - inner_height) // 2, width, height)


class ObjectDetector:
    """YOLOv8 and its class names."""

    def __init__(self, model: ModelRef, models_dir: Path, device: ComputeDevice) -> None:
        if not model.trained:
            raise StageError(f"the detector must have weights: {model.name} has none; build the image with them")
        self.name = f"{model.name}@{model.revision}"
        directory = models_dir / model.role
        self._labels: list[str] = json.loads((directory / LABELS_FILE).read_text())
        self._network = device.load_detector(directory)
        self._exact = device.load_exact_detector(directory)

    def detect(
        self, pictures: Sequence[np.ndarray], least_confidence: float, scale: tuple[float, float]
    ) -> list[tuple[Detection, ...]]:
        """What is in each of some RGB pictures of the same size, uint8, (height, width, 3), surest first.

        `scale` is what the pictures' pixels are multiplied by, across and down, to give the frame's.
        """
        height_px, width_px = pictures[0].shape[:2]
        fit = letterbox(width_px, height_px)
        inputs = [_fitted(picture, fit) for picture in pictures]
        found = findings(self._network.compute(inputs), fit, least_confidence - CLOSE_CALL)
        close = [number for number, each in enumerate(found) if each.has_close_call(least_confidence)]
        if self._exact and close:
            settled = self._exact.compute([inputs[number] for number in close])
            for number, each in zip(close, findings(settled, fit, least_confidence), strict=True):
                found[number] = each
        return [self._detections(each, least_confidence, fit, (width_px, height_px), scale) for each in found]

    def _detections(
        self,
        found: Findings,
        least_confidence: float,
        fit: Letterbox,
        size_px: tuple[int, int],
        scale: tuple[float, float],
    ) -> tuple[Detection, ...]:
        kept = (found.confidences >= least_confidence).nonzero()[0][:MOST_DETECTIONS]
        on_picture = (found.corners[kept] - (fit.left_px, fit.top_px) * 2) / fit.scale
        corners = on_picture.clip(0, size_px * 2) * (scale * 2)
        return tuple(
            Detection(label=self._labels[label], confidence=round(confidence, 4), box=_box(corner))
            for corner, confidence, label in zip(
                corners.tolist(), found.confidences[kept].tolist(), found.classes[kept].tolist(), strict=True
            )
        )


def findings(maps: tuple[np.ndarray, ...], fit: Letterbox, least_confidence: float) -> list[Findings]:
    """The objects in each picture, of the network's raw maps: distances and logits, each (pictures, …, anchors)."""
    centres, strides = anchors(fit.width_px, fit.height_px)
    found = []
    for distributions, logits in zip(*maps, strict=True):
        confidences = 1 / (1 + np.exp(-logits.max(axis=0)))
        kept = (confidences >= least_confidence).nonzero()[0]
        kept = kept[np.argsort(-confidences[kept], kind="stable")]
        corners = decoded_corners(distributions[:, kept], centres[kept], strides[kept])
        classes = logits[:, kept].argmax(axis=0)
        best = without_overlaps(corners, classes)
        found.append(Findings(confidences[kept][best], classes[best], corners[best]))
    return found


def anchors(width_px: int, height_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The centres of the anchors, (anchors, 2), across and down, and their strides, (anchors, 1), all in px."""
    centres, strides = [], []
    for stride_px in STRIDES_PX:
        rows, columns = np.mgrid[0 : height_px // stride_px, 0 : width_px // stride_px]
        centres.append((np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5) * stride_px)
        strides.append(np.full((rows.size, 1), stride_px))
    return np.concatenate(centres).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decoded_corners(distributions: np.ndarray, centres: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """Corners (left, top, right, bottom) of some anchors' boxes, px of the network's input, (anchors, 4).

    `distributions` is (4 * bins, anchors): for each side a distribution over the distance from the
    anchor's centre, in strides (Distribution Focal Loss, arXiv:2006.04388).
    """
    bins = len(distributions) // 4
    weights = np.exp(distributions - distributions.max(axis=0, initial=-np.inf)).reshape(4, bins, -1)
    distances = np.einsum("sna,n->as", weights, np.arange(bins, dtype=np.float32)) / weights.sum(axis=1).T
    return np.concatenate([centres - distances[:, :2] * strides, centres + distances[:, 2:] * strides], axis=1)


def without_overlaps(corners: np.ndarray, classes: np.ndarray) -> list[int]:
    """Which boxes, surest first, remain when those go that overlap a surer one of their class by more than 0.7."""
    sides = corners[:, 2:] - corners[:, :2]
    areas = sides[:, 0] * sides[:, 1]
    is_left = np.ones(len(corners), dtype=bool)
    best = []
    for number in range(len(corners)):
        if not is_left[number]:
            continue
        best.append(number)
        low = np.maximum(corners[number, :2], corners[:, :2])
        high = np.minimum(corners[number, 2:], corners[:, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        overlap = shared / (areas[number] + areas - shared)
        is_left &= ~(overlap > OVERLAP_IOU) | (classes != classes[number])
    return best


def _fitted(picture: np.ndarray, fit: Letterbox) -> np.ndarray:
    height_px, width_px = picture.shape[:2]
    inner = (max(1, round(width_px * fit.scale)), max(1, round(height_px * fit.scale)))
    canvas = np.full((fit.height_px, fit.width_px, 3), PADDING_GREY, dtype=np.uint8)
    resized = cv2.resize(picture, inner, interpolation=cv2.INTER_LINEAR)
    canvas[fit.top_px : fit.top_px + inner[1], fit.left_px : fit.left_px + inner[0]] = resized
    return canvas


def _box(corners: list[float]) -> Box:
    left, top, right, bottom = corners
    return Box(
        x_px=round(left, 1), y_px=round(top, 1), width_px=round(right - left, 1), height_px=round(bottom - top, 1)
    )
