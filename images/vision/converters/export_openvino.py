"""Turn torch's networks into OpenVINO's form while the image is built.

`python -m converters.export_openvino MODELS_DIR NETWORKS_DIR`: NETWORKS_DIR gets what the cpu variant reads. That is
CLIP in float32 and with its products' weights in int8, YOLOv8 in float32, and whatever else MODELS_DIR holds beside
torch's weights. OpenVINO rounds to bfloat16 when it loads.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from openvino import opset13

from vision_stage.torch_networks import CLIP_WEIGHTS_FILE, YOLO_WEIGHTS_FILE, load_clip_images, load_yolo_maps

CLIP_SIDE_PX = 224
WEIGHT_FILES = (CLIP_WEIGHTS_FILE, YOLO_WEIGHTS_FILE)
INT8_LIMIT = 127


def export(models_dir: Path, networks_dir: Path) -> None:
    """Fill `networks_dir`, which must not exist."""
    shutil.copytree(models_dir, networks_dir, ignore=shutil.ignore_patterns(*WEIGHT_FILES))
    # The fused attention that torch takes in inference cannot be traced.
    torch.backends.mha.set_fastpath_enabled(False)
    clip_dir, detector_dir = networks_dir / "clip", networks_dir / "detector"
    clip_dir.mkdir(exist_ok=True)
    side = CLIP_SIDE_PX
    clip = traced(load_clip_images(models_dir / "clip"), (-1, side, side, 3), (2, side, side, 3))
    ov.save_model(clip, clip_dir / "clip.xml", compress_to_fp16=False)
    quantize_products(clip)
    ov.save_model(clip, clip_dir / "clip_int8.xml", compress_to_fp16=False)
    yolo = traced(load_yolo_maps(models_dir / "detector"), (-1, -1, -1, 3), (2, 384, 640, 3))
    ov.save_model(yolo, detector_dir / "yolov8.xml", compress_to_fp16=False)


def traced(network: torch.nn.Module, shape: tuple[int, ...], example: tuple[int, ...]) -> ov.Model:
    """A network in OpenVINO's form, for pictures of `shape` (-1: any); `example` is what torch is shown."""
    pictures = torch.zeros(example, dtype=torch.uint8)
    with torch.inference_mode():
        return ov.convert_model(network, example_input=pictures, input=[(shape, ov.Type.u8)])


def quantize_products(model: ov.Model) -> None:
    """Round the constant matrices of products to int8, each output's row with a scale of its own.

    OpenVINO takes such products in int8 when it is told to quantize the other side as it computes.
    """
    for node in model.get_ops():
        if node.get_type_name() != "MatMul":
            continue
        constant = node.input_value(1).get_node()
        if constant.get_type_name() != "Constant":
            continue
        weights = constant.data.astype(np.float32)
        # The axis that the product sums over.
        inner = 1 if node.get_attributes()["transpose_b"] else 0
        scale = np.abs(weights).max(axis=inner, keepdims=True) / INT8_LIMIT
        rounded = opset13.constant(np.rint(weights / scale).astype(np.int8))
        restored = opset13.multiply(opset13.convert(rounded, "f32"), opset13.constant(scale))
        node.input(1).replace_source_output(restored.output(0))


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]))
