"""Objects in pictures, found by YOLOv8.

ultralytics gives the network. What surrounds it is here: its own predictor holds pictures to one
compute type, and ends its suppression of overlaps after a time limit, so that a busy machine would
find other objects than an idle one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import safe_open
from torchvision.ops import batched_nms
from ultralytics.nn.tasks import DetectionModel

from stage_contract.errors import StageError
from stage_contract.models import ModelRef
from stage_contract.outputs import Box, Detection
from vision_stage.device import ComputeDevice

WEIGHTS_FILE = "yolov8.safetensors"
INPUT_SIDE_PX = 640
STRIDE_PX = 32
PADDING_GREY = 114
OVERLAP_IOU = 0.7
MOST_DETECTIONS = 300
"""Input side, padding, overlap and count are what ultralytics predicts with by default."""


@dataclass(frozen=True)
class Letterbox:
    """How a picture was fitted into the network's input: scaled, then padded left and above, px."""

    scale: float
    left_px: int
    top_px: int
    width_px: int
    height_px: int


def letterbox(width_px: int, height_px: int) -> Letterbox:
    """Fit a picture into 640x640, and pad no further than the network's stride asks."""
    scale = INPUT_SIDE_PX / max(width_px, height_px)
    inner_width, inner_height = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    width, height = (-(-side // STRIDE_PX) * STRIDE_PX for side in (inner_width, inner_height))
    return Letterbox(scale, (width - inner_width) // 2, (height - inner_height) // 2, width, height)


class ObjectDetector:
    """YOLOv8 with the weights and class names in `yolov8.safetensors`."""

    def __init__(self, model: ModelRef, models_dir: Path, device: ComputeDevice) -> None:
        if not model.trained:
            raise StageError(f"the detector must have weights: {model.name} has none; build the image with them")
        self.name = f"{model.name}@{model.revision}"
        self._device = device
        with safe_open(models_dir / model.role / WEIGHTS_FILE, framework="pt") as file:
            about = file.metadata()
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
        self._labels: list[str] = json.loads(about["labels"])
        network = DetectionModel(about["architecture"], ch=3, nc=len(self._labels), verbose=False).eval()
        network.fuse(verbose=False)
        network.load_state_dict(weights)
        # In training the head gives its raw maps; they are decoded here, in float32 whatever the compute type.
        network.model[-1].training = True
        self._strides_px = [int(stride) for stride in network.stride]
        self._network = network.to(device.torch_device, device.dtype)

    def detect(
        self, pictures: Sequence[np.ndarray], least_confidence: float, scale: tuple[float, float]
    ) -> list[tuple[Detection, ...]]:
        """What is in each of some RGB pictures of the same size, uint8, (height, width, 3), surest first.

        `scale` is what the pictures' pixels are multiplied by, across and down, to give the frame's.
        """
        height_px, width_px = pictures[0].shape[:2]
        fit = letterbox(width_px, height_px)
        batch = torch.from_numpy(np.stack([_fitted(picture, fit) for picture in pictures]))
        with torch.inference_mode():
            on_device = batch.to(self._device.torch_device).permute(0, 3, 1, 2).to(self._device.dtype) / 255
            raw = self._network(on_device)
            boxes = decoded_boxes(raw["boxes"].float(), [tuple(f.shape[2:]) for f in raw["feats"]], self._strides_px)
            scores = raw["scores"].float().sigmoid()
        return [
            self._detections(boxes[number].T, scores[number].T, least_confidence, fit, (width_px, height_px), scale)
            for number in range(len(pictures))
        ]

    def _detections(
        self,
        boxes: torch.Tensor,
        scores: torch.Tensor,
        least_confidence: float,
        fit: Letterbox,
        size_px: tuple[int, int],
        scale: tuple[float, float],
    ) -> tuple[Detection, ...]:
        confidences, classes = scores.max(dim=1)
        kept = confidences >= least_confidence
        boxes, confidences, classes = boxes[kept], confidences[kept], classes[kept]
        best = batched_nms(boxes, confidences, classes, OVERLAP_IOU)[:MOST_DETECTIONS]
        offset = boxes.new_tensor([fit.left_px, fit.top_px] * 2)
        limits = boxes.new_tensor(size_px * 2)
        corners = ((boxes[best] - offset) / fit.scale).clamp(min=0).minimum(limits) * boxes.new_tensor(scale * 2)
        return tuple(
            Detection(label=self._labels[label], confidence=round(confidence, 4), box=_box(corner))
            for corner, confidence, label in zip(
                corners.tolist(), confidences[best].tolist(), classes[best].tolist(), strict=True
            )
        )


def decoded_boxes(
    distributions: torch.Tensor, map_sizes: Sequence[tuple[int, int]], strides_px: Sequence[int]
) -> torch.Tensor:
    """Corners (left, top, right, bottom), px of the network's input, (batch, 4, anchors).

    `distributions` is (batch, 4 * bins, anchors): for each side a distribution over the distance from
    the anchor's centre, in strides (Distribution Focal Loss, arXiv:2006.04388).
    """
    batch, channels, anchors = distributions.shape
    bins = channels // 4
    steps = torch.arange(bins, dtype=distributions.dtype, device=distributions.device)
    distances = torch.einsum("bsna,n->bsa", distributions.view(batch, 4, bins, anchors).softmax(dim=2), steps)
    centres, strides = [], []
    for (height, width), stride_px in zip(map_sizes, strides_px, strict=True):
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centres.append(torch.stack([columns.flatten(), rows.flatten()]) + 0.5)
        strides.append(torch.full((height * width,), float(stride_px)))
    centre = torch.cat(centres, dim=1).to(distances)
    corners = torch.cat([centre - distances[:, :2], centre + distances[:, 2:]], dim=1)
    return corners * torch.cat(strides).to(distances)


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
