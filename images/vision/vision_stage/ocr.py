"""Text in pictures, read by PP-OCR. The models come with the rapidocr wheel and run on the CPU in both variants."""

import cv2
import numpy as np
from rapidocr import RapidOCR

from stage_contract.outputs import Box, TextLine

BLOCK_PX = 16
# Of 255. Compression alone moves a still picture's blocks by less than 1; one new digit moves some by 20 and more.
UNCHANGED_DIFFERENCE = 3.0


class TextReader:
    """PP-OCR detection, direction and recognition through ONNX Runtime.

    A picture that shows what the one before showed is not read again: reading takes longer than all else.
    """

    def __init__(self, threads: int) -> None:
        self._engine = RapidOCR(
            params={
                "Global.log_level": "error",
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        self._before: tuple[np.ndarray, tuple[float, float], tuple[TextLine, ...]] | None = None

    def read(self, picture: np.ndarray, scale: tuple[float, float]) -> tuple[TextLine, ...]:
        """Lines of text in an RGB picture, uint8, (height, width, 3).

        `scale` is what the picture's pixels are multiplied by, across and down, to give the frame's.
        """
        if self._before and self._before[1] == scale and is_unchanged(self._before[0], picture):
            return self._before[2]
        lines = self._read_anew(picture, scale)
        self._before = picture, scale, lines
        return lines

    def _read_anew(self, picture: np.ndarray, scale: tuple[float, float]) -> tuple[TextLine, ...]:
        found = self._engine(np.ascontiguousarray(picture[..., ::-1]))
        if found.boxes is None or found.txts is None or found.scores is None:
            return ()
        return tuple(
            TextLine(text=text, confidence=round(float(confidence), 4), box=_box(corners, scale))
            for corners, text, confidence in zip(found.boxes, found.txts, found.scores, strict=True)
            if text.strip()
        )


def is_unchanged(before: np.ndarray, picture: np.ndarray) -> bool:
    """Whether no block of 16 x 16 pixels differs by more than noise. RGB, uint8, (height, width, 3)."""
    if before.shape != picture.shape:
        return False
    difference = cv2.cvtColor(cv2.absdiff(before, picture), cv2.COLOR_RGB2GRAY)
    height_px, width_px = difference.shape
    blocks = (max(1, width_px // BLOCK_PX), max(1, height_px // BLOCK_PX))
    return float(cv2.resize(difference, blocks, interpolation=cv2.INTER_AREA).max()) <= UNCHANGED_DIFFERENCE


def _box(corners: np.ndarray, scale: tuple[float, float]) -> Box:
    left, top = corners.min(axis=0) * scale
    right, bottom = corners.max(axis=0) * scale
    return Box(
        x_px=round(float(left), 1),
        y_px=round(float(top), 1),
        width_px=round(float(right - left), 1),
        height_px=round(float(bottom - top), 1),
    )
