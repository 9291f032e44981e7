"""Inside the vision image, or the reference image: what the stage's networks find in the pictures of the reference.

`python our_findings.py DIR` writes `DIR/<name>.json` for each setting, and for some that are wrong on purpose. In the
reference image it is torch's networks, on the CPU in place of a GPU.
"""

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import openvino as ov

from stage_contract.models import read_models
from stage_contract.outputs import Box
from vision_stage import detection, embedding, ocr
from vision_stage.device import ComputeDevice
from vision_stage.models import Models, load_models
from vision_stage.openvino_device import COMPUTE_TYPES, CpuDevice

THREADS = 2
BATCH = 8
LEAST_CONFIDENCE = 0.35

Pictures = Sequence[np.ndarray]


def corners(box: Box) -> list[float]:
    return [box.x_px, box.y_px, box.x_px + box.width_px, box.y_px + box.height_px]


def look(models: Models, seen: Pictures, pages: Pictures) -> dict[str, list[object]]:
    """What models find, in the form of `reference.json`."""
    found: dict[str, list[object]] = {"boxes": [], "vectors": [], "lines": []}
    for start in range(0, len(seen), BATCH):
        pictures = seen[start : start + BATCH]
        found["vectors"] += models.clip.encode(pictures).tolist()
        for objects in models.detector.detect(pictures, LEAST_CONFIDENCE, (1.0, 1.0)):
            found["boxes"].append([{"label": each.label, "corners": corners(each.box)} for each in objects])
    if models.reader:
        for lines in models.reader.read_all(pages, (1.0, 1.0)):
            found["lines"].append([{"label": each.text, "corners": corners(each.box)} for each in lines])
    return found


def squeezed(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (embedding.SIDE_PX, embedding.SIDE_PX))


def unscaled(picture: np.ndarray) -> np.ndarray:
    height_px, width_px = (side // 64 * 32 for side in picture.shape[:2])
    return cv2.resize(picture, (width_px, height_px))[None]


def unpadded(picture: np.ndarray, fit: detection.Letterbox) -> np.ndarray:
    return cv2.resize(picture, (fit.width_px, fit.height_px))


def main(folder: Path) -> None:
    pictures = np.load(folder / "pictures.npz")
    seen, pages = list(pictures["seen"]), list(pictures["pages"])

    def write(name: str, device: ComputeDevice, turn: Callable[[Pictures], Pictures] = list) -> None:
        models = load_models(device, read_models(), read_text=True, threads=THREADS)
        (folder / f"{name}.json").write_text(json.dumps(look(models, turn(seen), turn(pages))))

    if importlib.util.find_spec("torch"):
        import torch

        from vision_stage.torch_device import TorchDevice

        write("torch", TorchDevice(torch.device("cpu"), torch.float32, BATCH))
        return
    devices = {name: CpuDevice(name, BATCH, THREADS, ov.Core()) for name in COMPUTE_TYPES}
    for name, device in devices.items():
        write(name, device)
    write("mirrored colours", devices["float32"], lambda all_: [picture[..., ::-1].copy() for picture in all_])
    detection.CLOSE_CALL = 0
    write("close calls left open", devices["int8_bfloat16"])
    embedding.fitted, ocr.detection_input, detection._fitted = squeezed, unscaled, unpadded
    write("other sizes", devices["float32"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
