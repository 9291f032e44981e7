"""CLIP: one vector for each picture, and tags where it was trained."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

from stage_contract.models import ModelRef
from stage_contract.outputs import Tag
from vision_stage.device import ComputeDevice
from vision_stage.tags import best_tags, prompt, read_labels

ARCHITECTURE = "ViT-B-32"
WEIGHTS_FILE = "open_clip_model.safetensors"
UNTRAINED_SEED = 0
EMBEDDING_DECIMALS = 6


class ClipEncoder:
    """CLIP ViT-B/32's image encoder, and the text features of the labels.

    Without weights the encoder is initialized from a fixed seed: it costs what the trained one costs
    and gives the same vectors each time, but they mean nothing, so there are no tags.
    """

    def __init__(self, model: ModelRef, models_dir: Path, device: ComputeDevice) -> None:
        self.trained = model.trained
        self.name = f"{model.name}@{model.revision}"
        self._device = device
        weights = models_dir / model.role / WEIGHTS_FILE
        clip, self._prepare = _create(weights if model.trained else None)
        clip = clip.eval().requires_grad_(False).to(device.torch_device, device.dtype)
        self._labels = read_labels() if model.trained else ()
        self._logit_scale = float(clip.logit_scale.exp())
        self._label_features = self._encode_labels(clip)
        self._encoder = clip.visual
        self.dimensions = int(self._encoder.output_dim)

    def _encode_labels(self, clip: torch.nn.Module) -> torch.Tensor | None:
        if not self._labels:
            return None
        tokens = open_clip.get_tokenizer(ARCHITECTURE)([prompt(label) for label in self._labels])
        with torch.inference_mode():
            return clip.encode_text(tokens.to(self._device.torch_device), normalize=True).float()

    def encode(self, pictures: Sequence[np.ndarray]) -> torch.Tensor:
        """L2-normalized vectors, float32, (pictures, 512), of RGB pictures, uint8, (height, width, 3)."""
        batch = torch.stack([self._prepare(Image.fromarray(picture)) for picture in pictures])
        with torch.inference_mode():
            features = self._encoder(batch.to(self._device.torch_device, self._device.dtype)).float()
            return torch.nn.functional.normalize(features, dim=-1)

    def tags(self, embeddings: torch.Tensor) -> list[tuple[Tag, ...]]:
        """The tags of each vector that `encode` gave; none at all when CLIP has no weights."""
        if self._label_features is None:
            return [()] * len(embeddings)
        similarities = (embeddings @ self._label_features.T).tolist()
        return [best_tags(row, self._labels, self._logit_scale) for row in similarities]


def _create(weights: Path | None) -> tuple[torch.nn.Module, Callable[[Image.Image], torch.Tensor]]:
    # open_clip tells the root logger what it does, and warns that there are no weights: known, and in models.json.
    logging.disable(logging.WARNING)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(UNTRAINED_SEED)
            clip, _, prepare = open_clip.create_model_and_transforms(
                ARCHITECTURE, pretrained=str(weights) if weights else None
            )
    finally:
        logging.disable(logging.NOTSET)
    return clip, prepare


def rounded(embeddings: torch.Tensor) -> list[tuple[float, ...]]:
    """Vectors as they are written: six decimals keep the cosine to within a millionth."""
    return [tuple(round(value, EMBEDDING_DECIMALS) for value in row) for row in embeddings.tolist()]
