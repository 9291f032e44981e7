"""Converts a checkpoint of ultralytics' kind: `python convert_checkpoint.py OUTDIR`, inside the reference image.

Prints the largest difference, px or probability, between what the network finds before and after. The
checkpoint has random weights; half precision, as in published ones, accounts for most of the difference.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from ultralytics.nn.tasks import DetectionModel

from converters.prepare_models import prepare

CLASSES = 80


def make_network() -> DetectionModel:
    """YOLOv8n with random weights and random statistics in its batch normalizations."""
    torch.manual_seed(3)
    network = DetectionModel("yolov8n.yaml", ch=3, nc=CLASSES, verbose=False).eval()
    network.names = {number: f"class {number}" for number in range(CLASSES)}
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.half().float()


def difference(folder: Path) -> float:
    """Save, convert and load a network; compare its findings on one random picture."""
    network = make_network()
    picture = torch.rand(1, 3, 320, 320)
    with torch.inference_mode():
        before = network(picture)[0]
    fetched, models = folder / "fetched", folder / "models"
    (fetched / "detector").mkdir(parents=True)
    models.mkdir()
    torch.save({"model": network.half(), "ema": None}, fetched / "detector" / "yolov8n.pt")
    (fetched / "models.json").write_text(json.dumps([{"role": "detector", "trained": True}]))
    (fetched / "converters.json").write_text(json.dumps({"detector": "yolov8_pt"}))
    prepare(fetched, models)
    loaded = DetectionModel("yolov8n.yaml", ch=3, nc=CLASSES, verbose=False).eval()
    loaded.fuse(verbose=False)
    loaded.load_state_dict(load_file(models / "detector" / "yolov8.safetensors"))
    with torch.inference_mode():
        return float((loaded(picture)[0] - before).abs().max())


if __name__ == "__main__":
    print(difference(Path(sys.argv[1])))
