"""Lines of text, cut out of pictures, as PP-OCR's direction and recognition want them, and what these tell.

The numbers and the order of steps are rapidocr's, so that the same is read.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

HEIGHT_PX = 48
DIRECTION_WIDTH_PX = 192
LEAST_RECOGNITION_WIDTH_PX = 320
RECOGNITION_BATCH = 6
UPSIDE_DOWN = 1
LEAST_UPSIDE_DOWN = 0.9


def direction_input(lines: Sequence[np.ndarray]) -> np.ndarray:
    """Lines as the direction network takes them, float32, (lines, 3, 48, 192)."""
    return np.stack([_padded(line, DIRECTION_WIDTH_PX) for line in lines])


def upright(lines: Sequence[np.ndarray], directions: np.ndarray) -> list[np.ndarray]:
    """Lines turned round where the network is sure that they stand upside down. `directions` is (lines, 2)."""
    return [
        cv2.rotate(line, cv2.ROTATE_180) if told.argmax() == UPSIDE_DOWN and told.max() > LEAST_UPSIDE_DOWN else line
        for line, told in zip(lines, directions, strict=True)
    ]


def recognition_batches(lines: Sequence[np.ndarray]) -> list[tuple[list[int], np.ndarray]]:
    """Lines of similar shape together: their numbers, and what the network takes, float32, (lines, 3, 48, width)."""
    shapes = np.array([line.shape[1] / line.shape[0] for line in lines])
    order = np.argsort(shapes).tolist()
    batches = []
    for start in range(0, len(order), RECOGNITION_BATCH):
        numbers = order[start : start + RECOGNITION_BATCH]
        widest = max(LEAST_RECOGNITION_WIDTH_PX / HEIGHT_PX, float(shapes[numbers].max()))
        width_px = int(HEIGHT_PX * widest)
        batches.append((numbers, np.stack([_padded(lines[number], width_px) for number in numbers])))
    return batches


def decoded(probabilities: np.ndarray, characters: Sequence[str]) -> tuple[str, float]:
    """The text of a line and its confidence, from (steps, characters): the first character is none (CTC)."""
    best = probabilities.argmax(axis=1)
    is_new = best != 0
    is_new[1:] &= best[1:] != best[:-1]
    if not is_new.any():
        return "", 0.0
    confidence = probabilities[is_new, best[is_new]].mean()
    return "".join(characters[number] for number in best[is_new]), float(confidence)


def _padded(line: np.ndarray, width_px: int) -> np.ndarray:
    scaled_px = min(width_px, math.ceil(HEIGHT_PX * line.shape[1] / line.shape[0]))
    padded = np.zeros((3, HEIGHT_PX, width_px), dtype=np.float32)
    scaled = cv2.resize(line, (scaled_px, HEIGHT_PX)).astype(np.float32)
    padded[:, :, :scaled_px] = scaled.transpose(2, 0, 1) / 127.5 - 1
    return padded
