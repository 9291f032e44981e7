"""What CLIP's text encoder makes of the labels. Computed here, so that a stage needs no text encoder."""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch

from vision_stage.torch_networks import CLIP_ARCHITECTURE, CLIP_WEIGHTS_FILE, create_clip

TAGS_FILE = Path(__file__).with_name("tags.txt")
LABELS_FILE = "labels.json"
FEATURES_FILE = "label_features.npy"


def write_label_features(clip_dir: Path) -> None:
    """Write beside CLIP's weights the labels with the learnt logit scale, and their vectors, float32, (labels, 512)."""
    labels = read_labels()
    clip = create_clip(clip_dir / CLIP_WEIGHTS_FILE)
    tokens = open_clip.get_tokenizer(CLIP_ARCHITECTURE)([prompt(label) for label in labels])
    with torch.inference_mode():
        features = clip.encode_text(tokens, normalize=True)
    about = {"labels": labels, "logit_scale": float(clip.logit_scale.exp())}
    (clip_dir / LABELS_FILE).write_text(json.dumps(about))
    np.save(clip_dir / FEATURES_FILE, features.numpy())


def read_labels(path: Path = TAGS_FILE) -> tuple[str, ...]:
    """The labels, one a line; empty lines and lines that start with `#` are left out."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def prompt(label: str) -> str:
    """What the text encoder is asked for a label."""
    return f"a photo of {label}"
