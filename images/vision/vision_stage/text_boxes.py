"""Where lines of text are, from the map of probabilities that PP-OCR's detection gives (DB, arXiv:1911.08947).

The numbers and the order of steps are rapidocr's, so that the same lines are found.
"""

import cv2
import numpy as np
import pyclipper

LEAST_PROBABILITY = 0.3
LEAST_MEAN_PROBABILITY = 0.5
GROWTH = 1.6
MOST_CANDIDATES = 1000
LEAST_SIDE_PX = 3
SAME_LINE_PX = 10
DILATION = np.ones((2, 2), dtype=np.uint8)


def text_boxes(probabilities: np.ndarray, width_px: int, height_px: int) -> list[np.ndarray]:
    """Corners of lines, clockwise from the left upper one, float32, (4, 2), in the order of reading.

    `probabilities` is (rows, columns), of a picture of `width_px` by `height_px`, whose pixels the corners are in.
    """
    mask = cv2.dilate((probabilities > LEAST_PROBABILITY).astype(np.uint8), DILATION)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    rows, columns = probabilities.shape
    to_picture = np.array([width_px / columns, height_px / rows])
    found = []
    for contour in contours[:MOST_CANDIDATES]:
        corners = _grown_corners(contour, probabilities)
        if corners is not None:
            box = _clockwise(np.round(corners * to_picture).clip(0, (width_px, height_px)).astype(np.int32))
            box = box.clip(0, (width_px - 1, height_px - 1)).astype(np.float32)
            if min(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[0] - box[3])) >= LEAST_SIDE_PX + 1:
                found.append(box)
    return _in_reading_order(found)


def cut_out(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The line in a box, made level; one that stands upright is laid down."""
    width_px = int(max(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[2] - box[3])))
    height_px = int(max(np.linalg.norm(box[0] - box[3]), np.linalg.norm(box[1] - box[2])))
    level = np.array([[0, 0], [width_px, 0], [width_px, height_px], [0, height_px]], dtype=np.float32)
    line = cv2.warpPerspective(
        picture,
        cv2.getPerspectiveTransform(box, level),
        (width_px, height_px),
        borderMode=cv2.BORDER_REPLICATE,
        flags=cv2.INTER_CUBIC,
    )
    return np.rot90(line) if height_px / width_px >= 1.5 else line


def _grown_corners(contour: np.ndarray, probabilities: np.ndarray) -> np.ndarray | None:
    """The corners of a candidate, grown to hold its letters whole; none where it is too small or too unsure."""
    corners, side_px = _smallest_rectangle(contour)
    if side_px < LEAST_SIDE_PX or _mean_inside(probabilities, corners) < LEAST_MEAN_PROBABILITY:
        return None
    distance_px = cv2.contourArea(corners) * GROWTH / cv2.arcLength(corners, closed=True)
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(corners, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    grown, side_px = _smallest_rectangle(np.array(offset.Execute(distance_px), dtype=np.int32).reshape(-1, 1, 2))
    return None if side_px < LEAST_SIDE_PX + 2 else grown


def _smallest_rectangle(contour: np.ndarray) -> tuple[np.ndarray, float]:
    """Its corners, the two on the left first and last, each pair upper one first; and its shorter side."""
    rectangle = cv2.minAreaRect(contour)
    points = sorted(cv2.boxPoints(rectangle), key=lambda point: point[0])
    left = sorted(points[:2], key=lambda point: point[1])
    right = sorted(points[2:], key=lambda point: point[1])
    return np.array([left[0], right[0], right[1], left[1]]), min(rectangle[1])


def _mean_inside(probabilities: np.ndarray, corners: np.ndarray) -> float:
    rows, columns = probabilities.shape
    left, top = np.floor(corners.min(axis=0)).astype(int).clip(0, (columns - 1, rows - 1))
    right, bottom = np.ceil(corners.max(axis=0)).astype(int).clip(0, (columns - 1, rows - 1))
    mask = np.zeros((bottom - top + 1, right - left + 1), dtype=np.uint8)
    cv2.fillPoly(mask, (corners - (left, top)).astype(np.int32)[None], 1)
    return float(cv2.mean(probabilities[top : bottom + 1, left : right + 1], mask)[0])


def _clockwise(corners: np.ndarray) -> np.ndarray:
    by_column = corners[np.argsort(corners[:, 0])]
    left, right = by_column[:2], by_column[2:]
    left, right = left[np.argsort(left[:, 1])], right[np.argsort(right[:, 1])]
    return np.array([left[0], right[0], right[1], left[1]])


def _in_reading_order(boxes: list[np.ndarray]) -> list[np.ndarray]:
    """From above, and from the left those that begin less than 10 px below the one before."""
    from_above = sorted(boxes, key=lambda box: float(box[0, 1]))
    lines: list[list[np.ndarray]] = []
    for number, box in enumerate(from_above):
        if number == 0 or box[0, 1] - from_above[number - 1][0, 1] >= SAME_LINE_PX:
            lines.append([])
        lines[-1].append(box)
    return [box for line in lines for box in sorted(line, key=lambda box: float(box[0, 0]))]
