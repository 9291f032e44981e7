"""Take PP-OCR's networks out of the rapidocr wheel: `python -m converters.text_models MODELS_DIR`.

MODELS_DIR/text gets them in OpenVINO's form, in which both variants read text, and the characters that they know.
"""

import json
import sys
from pathlib import Path

import openvino as ov
import rapidocr
from openvino.preprocess import PrePostProcessor

WHEEL_MODELS = Path(rapidocr.__file__).parent / "models"
DETECTION, DIRECTION, RECOGNITION = (
    "PP-OCRv6_det_small.onnx",
    "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "PP-OCRv6_rec_small.onnx",
)
MIDDLE = 127.5
"""Pictures go in as bytes b and are computed with as (b - 127.5) / 127.5."""


def convert(text_dir: Path) -> None:
    """Fill `text_dir`, which must not exist."""
    text_dir.mkdir(parents=True)
    core = ov.Core()
    detection = core.read_model(WHEEL_MODELS / DETECTION)
    ov.save_model(of_bytes(detection), text_dir / "detection.xml", compress_to_fp16=False)
    direction = core.read_model(WHEEL_MODELS / DIRECTION)
    ov.save_model(direction, text_dir / "direction.xml", compress_to_fp16=False)
    recognition = core.read_model(WHEEL_MODELS / RECOGNITION)
    characters = recognition.get_rt_info()["framework"]["character"].value.splitlines()
    (text_dir / "characters.json").write_text(json.dumps(characters))
    ov.save_model(recognition, text_dir / "recognition.xml", compress_to_fp16=False)


def of_bytes(model: ov.Model) -> ov.Model:
    """The network for pictures as they are: uint8, (pictures, height, width, 3)."""
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean(MIDDLE).scale(MIDDLE)
    return steps.build()


if __name__ == "__main__":
    convert(Path(sys.argv[1]) / "text")
