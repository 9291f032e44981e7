"""Models with weights for CLIP: `python make_weighted_clip.py OUTDIR`, inside the vision image.

The weights are random, with a large logit scale, so that some label always stands out. They show that
weights are read and tags come out, not that the tags are right.
"""

import json
import shutil
import sys
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from stage_contract.models import MODELS_DIR, read_models


def make_models(folder: Path) -> None:
    """Write the image's models with CLIP's replaced."""
    torch.manual_seed(7)
    clip = open_clip.create_model("ViT-B-32")
    with torch.no_grad():
        clip.logit_scale.fill_(12.0)
    models = read_models()
    (folder / "clip").mkdir()
    save_file(clip.state_dict(), folder / "clip" / "open_clip_model.safetensors")
    (folder / "clip" / "open_clip_model.safetensors").chmod(0o644)
    shutil.copytree(MODELS_DIR / "detector", folder / "detector")
    entries = [models["detector"], models["clip"].model_copy(update={"trained": True, "sha256": "0" * 64})]
    (folder / "models.json").write_text(json.dumps([entry.model_dump() for entry in entries]))


if __name__ == "__main__":
    make_models(Path(sys.argv[1]))
