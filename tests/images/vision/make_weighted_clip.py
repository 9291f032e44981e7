"""Models with weights for CLIP: `python make_weighted_clip.py OUTDIR`, inside the reference image.

The weights are random, with a large logit scale, so that some label always stands out. They show that
weights are read and tags come out, not that the tags are right. They go the way that fetched ones go.
"""

import json
import shutil
import sys
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from converters.export_openvino import export
from converters.prepare_models import prepare
from stage_contract.models import MODELS_DIR, read_models


def make_models(folder: Path) -> None:
    """Write the image's models with CLIP's replaced."""
    torch.manual_seed(7)
    clip = open_clip.create_model("ViT-B-32")
    with torch.no_grad():
        clip.logit_scale.fill_(12.0)
    fetched, prepared = folder / "fetched", folder / "prepared"
    (fetched / "clip").mkdir(parents=True)
    save_file(clip.state_dict(), fetched / "clip" / "open_clip_model.safetensors")
    weighted = read_models()["clip"].model_copy(update={"trained": True, "sha256": "0" * 64})
    (fetched / "models.json").write_text(json.dumps([weighted.model_dump()]))
    (fetched / "converters.json").write_text("{}")
    prepared.mkdir()
    prepare(fetched, prepared)
    for name in ("detector", "text"):
        shutil.copytree(MODELS_DIR / name, prepared / name)
    entries = [read_models()["detector"], weighted]
    (prepared / "models.json").write_text(json.dumps([entry.model_dump() for entry in entries]))
    export(prepared, folder / "models")


if __name__ == "__main__":
    make_models(Path(sys.argv[1]))
