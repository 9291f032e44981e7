"""Lay out the image's models while it is built: `python -m converters.prepare_models FETCHED_DIR MODELS_DIR`.

FETCHED_DIR holds `models.json`, `converters.json` and a folder of files for each role that has weights.
MODELS_DIR gets `models.json` and such a folder, converted where a converter is named, else copied; beside CLIP's
weights lie the text features of the labels.

YOLOv8 is converted to one safetensors file with the fused weights, the class names and the
architecture, and `labels.json`, whether it comes as ultralytics' checkpoint or as an ONNX export. A
checkpoint is a pickle and runs code when it is read: that is done here, on a file whose hash was checked,
so that the stage need not read pickles.
"""

import ast
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from ultralytics.nn.tasks import DetectionModel

from converters.label_features import write_label_features

CLIP_ROLE = "clip"
YOLOV8_FILE = "yolov8.safetensors"
LABELS_FILE = "labels.json"
EXPORTED_ARCHITECTURE = "yolov8n.yaml"

Converter = Callable[[Path, Path], None]


class ConversionError(Exception):
    """A model cannot be laid out; the message says why."""


def prepare(fetched_dir: Path, models_dir: Path) -> None:
    """Fill `models_dir` with every model that has weights, and `models.json`.

    Raises:
        ConversionError: a converter is not known, or files are missing or not as expected.
    """
    models = json.loads((fetched_dir / "models.json").read_text())
    converters = json.loads((fetched_dir / "converters.json").read_text())
    for model in models:
        if model["trained"]:
            role = model["role"]
            _converter(role, converters.get(role))(fetched_dir / role, models_dir / role)
            if role == CLIP_ROLE:
                write_label_features(models_dir / role)
    shutil.copyfile(fetched_dir / "models.json", models_dir / "models.json")


def convert_yolov8_export(source_dir: Path, target_dir: Path) -> None:
    """Take YOLOv8n's weights out of the ONNX file in `source_dir`.

    ultralytics' export has folded the batch normalizations into the convolutions and kept the names of
    the weights; constants, such as the steps of the distance bins, have become other nodes.
    """
    # Only here, so that checkpoints can be converted where onnx is not installed.
    import onnx
    from onnx import numpy_helper

    exported = onnx.load(_only_file(source_dir, "*.onnx"))
    names = ast.literal_eval(next(prop.value for prop in exported.metadata_props if prop.key == "names"))
    found = {i.name: torch.from_numpy(np.array(numpy_helper.to_array(i))) for i in exported.graph.initializer}
    initial = _fused_network(EXPORTED_ARCHITECTURE, len(names)).state_dict()
    missing = [key for key in initial if key not in found and not key.endswith("dfl.conv.weight")]
    if missing:
        raise ConversionError(
            f"the ONNX file must hold all weights of {EXPORTED_ARCHITECTURE}: {', '.join(missing)} missing"
        )
    weights = {key: found.get(key, initial[key]) for key in initial}
    _save_yolov8(target_dir, EXPORTED_ARCHITECTURE, names, weights)


def convert_yolov8_checkpoint(source_dir: Path, target_dir: Path) -> None:
    """Take YOLOv8's weights out of the checkpoint (`.pt`) in `source_dir`."""
    checkpoint = torch.load(_only_file(source_dir, "*.pt"), map_location="cpu", weights_only=False)
    network = (checkpoint.get("ema") or checkpoint["model"]).float().eval()
    network.fuse(verbose=False)
    _save_yolov8(target_dir, Path(network.yaml["yaml_file"]).name, network.names, network.state_dict())


def _copy(source_dir: Path, target_dir: Path) -> None:
    shutil.copytree(source_dir, target_dir)


CONVERTERS: Mapping[str, Converter] = {
    "yolov8_onnx": convert_yolov8_export,
    "yolov8_pt": convert_yolov8_checkpoint,
}


def _converter(role: str, name: str | None) -> Converter:
    if name is None:
        return _copy
    if name not in CONVERTERS:
        raise ConversionError(f"a converter must be one of {', '.join(CONVERTERS)}: {role} names {name!r}")
    return CONVERTERS[name]


def _only_file(directory: Path, pattern: str) -> Path:
    files = sorted(directory.rglob(pattern))
    if len(files) != 1:
        raise ConversionError(f"{directory.name} must have one file {pattern}: it has {len(files)}; fetch it again")
    return files[0]


def _fused_network(architecture: str, classes: int) -> DetectionModel:
    network = DetectionModel(architecture, ch=3, nc=classes, verbose=False).eval()
    network.fuse(verbose=False)
    return network


def _save_yolov8(
    target_dir: Path, architecture: str, names: Mapping[int, str], weights: Mapping[str, torch.Tensor]
) -> None:
    labels: Sequence[str] = [names[number] for number in sorted(names)]
    # Loading is the proof that names and shapes are the architecture's.
    _fused_network(architecture, len(labels)).load_state_dict(weights)
    target_dir.mkdir(parents=True)
    save_file(
        {key: tensor.float().contiguous() for key, tensor in weights.items()},
        target_dir / YOLOV8_FILE,
        metadata={"architecture": architecture, "labels": json.dumps(labels)},
    )
    (target_dir / LABELS_FILE).write_text(json.dumps(labels))


if __name__ == "__main__":
    try:
        prepare(Path(sys.argv[1]), Path(sys.argv[2]))
    except ConversionError as error:
        sys.exit(str(error))
