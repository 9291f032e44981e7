"""CLIP's image encoder and YOLOv8 as torch modules that take RGB pictures: uint8, (pictures, height, width, 3).

A GPU runs them; for the CPU they are turned into OpenVINO's form while the image is built
(`converters/export_openvino.py`). This module needs none of the stage's other ones: a change of those converts
nothing anew.
"""

import json
import logging
from pathlib import Path

import open_clip
import torch
from safetensors import safe_open
from torch import nn
from ultralytics.nn.tasks import DetectionModel

CLIP_ARCHITECTURE = "ViT-B-32"
CLIP_WEIGHTS_FILE = "open_clip_model.safetensors"
UNTRAINED_SEED = 0
YOLO_WEIGHTS_FILE = "yolov8.safetensors"


class ClipImages(nn.Module):  # type: ignore[misc] # torch is not there where types are checked
    """Pictures of 224 x 224 to vectors, (pictures, 512), not normalized."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.visual = clip.visual
        self.register_buffer("mean", 255 * torch.tensor(clip.visual.image_mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", 255 * torch.tensor(clip.visual.image_std).view(1, 3, 1, 1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        planes = pictures.permute(0, 3, 1, 2).to(self.mean.dtype)
        return self.visual((planes - self.mean) / self.deviation)


class YoloMaps(nn.Module):  # type: ignore[misc]
    """Pictures with sides that the stride of 32 divides to the head's raw maps.

    Distributions of the sides' distances, (pictures, 64, anchors), and logits of the classes, (pictures, classes,
    anchors); the anchors row by row, of strides 8, 16 and 32 px.
    """

    def __init__(self, network: DetectionModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # In training the head gives its raw maps; they are decoded outside, in float32 whatever the compute type.
        self.network.model[-1].training = True
        planes = pictures.permute(0, 3, 1, 2).to(next(self.network.parameters()).dtype)
        raw = self.network(planes / 255)
        return raw["boxes"], raw["scores"]


def create_clip(weights: Path | None) -> nn.Module:
    """CLIP ViT-B/32, with the weights of a file or, without one, initialized from a fixed seed."""
    # open_clip tells the root logger what it does, and warns that there are no weights: known, and in models.json.
    logging.disable(logging.WARNING)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(UNTRAINED_SEED)
            clip = open_clip.create_model(CLIP_ARCHITECTURE, pretrained=str(weights) if weights else None)
    finally:
        logging.disable(logging.NOTSET)
    return clip.eval().requires_grad_(False)


def load_clip_images(directory: Path) -> ClipImages:
    """CLIP's image encoder with the weights in a model's folder, untrained where there are none."""
    weights = directory / CLIP_WEIGHTS_FILE
    images = ClipImages(create_clip(weights if weights.exists() else None))
    images.eval()
    return images


def load_yolo_maps(directory: Path) -> YoloMaps:
    """YOLOv8 with the weights in a model's folder."""
    with safe_open(directory / YOLO_WEIGHTS_FILE, framework="pt") as file:
        about = file.metadata()
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    network = DetectionModel(about["architecture"], ch=3, nc=len(json.loads(about["labels"])), verbose=False).eval()
    network.fuse(verbose=False)
    network.load_state_dict(weights)
    maps = YoloMaps(network.requires_grad_(False))
    maps.eval()
    return maps
