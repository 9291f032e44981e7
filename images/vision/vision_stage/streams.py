"""Which video stream of an asset is analysed, and at what size."""

from stage_contract.errors import ItemRejected
from stage_contract.outputs import ProbeOutput, VideoStream
from stage_contract.vocabulary import Reason

LARGEST_FRAME_PX = 2**26
"""A decoded frame of more pixels (67 million, twice 8K) is refused: a few bytes can ask for gigabytes."""

LONGEST_ANALYSED_SIDE_PX = 1920
"""Larger frames are scaled down to this before anything looks at them; the models see 224 and 640."""

SIGNATURE_SIDE_PX = 64


def main_video_stream(probe: ProbeOutput) -> VideoStream:
    """The moving picture with the most pixels, the first of them where several have as many.

    Raises:
        ItemRejected: there is no moving picture, or it is too large.
    """
    moving = [s for s in probe.video if not s.is_cover and s.width_px > 0 and s.height_px > 0]
    if not moving:
        found = "only a cover picture" if probe.video else "no video stream"
        raise ItemRejected(Reason.NO_VIDEO, f"vision.analyze needs a moving picture: the file has {found}")
    main = min(moving, key=lambda s: (-s.width_px * s.height_px, s.index))
    if main.width_px * main.height_px > LARGEST_FRAME_PX:
        raise ItemRejected(
            Reason.TOO_LARGE,
            f"a frame must have at most {LARGEST_FRAME_PX} pixels: stream {main.index} has "
            f"{main.width_px}x{main.height_px}; make a smaller copy of the file and process that",
        )
    return main


def analysed_size(width_px: int, height_px: int) -> tuple[int, int]:
    """Width and height, px, at which a frame is analysed: its own, or scaled down to the longest side allowed."""
    return _fitted(width_px, height_px, min(LONGEST_ANALYSED_SIDE_PX, max(width_px, height_px)))


def signature_size(width_px: int, height_px: int) -> tuple[int, int]:
    """Width and height, px, at which frames are compared with each other."""
    return _fitted(width_px, height_px, SIGNATURE_SIDE_PX)


def _fitted(width_px: int, height_px: int, side_px: int) -> tuple[int, int]:
    scale = side_px / max(width_px, height_px)
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))
