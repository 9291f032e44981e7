"""CLIP: one vector for each picture, and tags where it was trained."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stage_contract.models import ModelRef
from stage_contract.outputs import Tag
from vision_stage.device import ComputeDevice
from vision_stage.tags import best_tags

SIDE_PX = 224
DIMENSIONS = 512
LABELS_FILE = "labels.json"
LABEL_FEATURES_FILE = "label_features.npy"
EMBEDDING_DECIMALS = 6

REDUCING_GAP = 1.5
"""Pictures of three times the size and more are first halved, or thirded, by plain means, to 1.5 times at least.

Vectors keep a cosine of 0.9999 to those of pictures scaled in one step, which takes 3.7 ms in place of 2.5 at 720p and
7.3 in place of 2.7 at 1080p.
"""


class ClipEncoder:
    """CLIP ViT-B/32's image encoder, and the text features of the labels.

    Without weights the encoder is initialized from a fixed seed: it costs what the trained one costs
    and gives the same vectors each time, but they mean nothing, so there are no tags.
    """

    dimensions = DIMENSIONS

    def __init__(self, model: ModelRef, models_dir: Path, device: ComputeDevice) -> None:
        self.trained = model.trained
        self.name = f"{model.name}@{model.revision}"
        directory = models_dir / model.role
        self._network = device.load_clip(directory)
        self._labels: tuple[str, ...] = ()
        if model.trained:
            about = json.loads((directory / LABELS_FILE).read_text())
            self._labels, self._logit_scale = tuple(about["labels"]), float(about["logit_scale"])
            self._label_features = np.load(directory / LABEL_FEATURES_FILE)

    def encode(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """L2-normalized vectors, float32, (pictures, 512), of RGB pictures, uint8, (height, width, 3)."""
        (features,) = self._network.compute(fitted(picture) for picture in pictures)
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    def tags(self, embeddings: np.ndarray) -> list[tuple[Tag, ...]]:
        """The tags of each vector that `encode` gave; none at all when CLIP has no weights."""
        if not self._labels:
            return [()] * len(embeddings)
        similarities = (embeddings @ self._label_features.T).tolist()
        return [best_tags(row, self._labels, self._logit_scale) for row in similarities]


def fitted(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture, its shorter side scaled to 224 px, as open_clip prepares pictures: (224, 224, 3).

    Only the square that is kept is scaled.
    """
    height_px, width_px = picture.shape[:2]
    shorter = min(height_px, width_px)
    scaled_height, scaled_width = (int(SIDE_PX * side / shorter) for side in (height_px, width_px))
    left, top = round((scaled_width - SIDE_PX) / 2), round((scaled_height - SIDE_PX) / 2)
    across, down = width_px / scaled_width, height_px / scaled_height
    box = (left * across, top * down, (left + SIDE_PX) * across, (top + SIDE_PX) * down)
    size = (SIDE_PX, SIDE_PX)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, box, REDUCING_GAP))


def rounded(embeddings: np.ndarray) -> list[tuple[float, ...]]:
    """Vectors as they are written: six decimals keep the cosine to within a millionth."""
    return [tuple(round(value, EMBEDDING_DECIMALS) for value in row) for row in embeddings.tolist()]
