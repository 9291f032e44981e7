"""Text in pictures, read by PP-OCR. The models come with the rapidocr wheel and run on the CPU in both variants."""

import numpy as np
from rapidocr import RapidOCR

from stage_contract.outputs import Box, TextLine


class TextReader:
    """PP-OCR detection, direction and recognition through ONNX Runtime."""

    def __init__(self, threads: int) -> None:
        self._engine = RapidOCR(
            params={
                "Global.log_level": "error",
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def read(self, picture: np.ndarray, scale: tuple[float, float]) -> tuple[TextLine, ...]:
        """Lines of text in an RGB picture, uint8, (height, width, 3).

        `scale` is what the picture's pixels are multiplied by, across and down, to give the frame's.
        """
        found = self._engine(np.ascontiguousarray(picture[..., ::-1]))
        if found.boxes is None or found.txts is None or found.scores is None:
            return ()
        return tuple(
            TextLine(text=text, confidence=round(float(confidence), 4), box=_box(corners, scale))
            for corners, text, confidence in zip(found.boxes, found.txts, found.scores, strict=True)
            if text.strip()
        )


def _box(corners: np.ndarray, scale: tuple[float, float]) -> Box:
    left, top = corners.min(axis=0) * scale
    right, bottom = corners.max(axis=0) * scale
    return Box(
        x_px=round(float(left), 1),
        y_px=round(float(top), 1),
        width_px=round(float(right - left), 1),
        height_px=round(float(bottom - top), 1),
    )
