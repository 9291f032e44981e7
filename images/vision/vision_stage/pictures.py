"""Decoded frames as displayed: turned upright, in RGB, at the sizes that are looked at."""

from dataclasses import dataclass
from functools import cached_property

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from stage_contract.outputs import VideoStream
from vision_stage.streams import analysed_size, signature_size

HD_HEIGHT_PX = 720
UNSPECIFIED_COLORSPACE = 2


class FrameConverter:
    """Turns frames of one stream into pictures: RGB, uint8, (height, width, 3)."""

    def __init__(self, stream: VideoStream) -> None:
        self._turns = -stream.rotation_deg // 90 % 4
        self._picture_size = self._unrotated(*analysed_size(stream.width_px, stream.height_px))
        self._signature_size = self._unrotated(*signature_size(stream.width_px, stream.height_px))
        self._picture_reformatter, self._signature_reformatter = VideoReformatter(), VideoReformatter()

    def picture(self, frame: av.VideoFrame) -> np.ndarray:
        """The frame at the size at which it is analysed."""
        # A frame that keeps its size is only converted: area averaging would do the same, ten times slower.
        keeps_size = (frame.width, frame.height) == self._picture_size
        how = Interpolation.BICUBIC if keeps_size else Interpolation.AREA
        return self._rgb(frame, self._picture_reformatter, self._picture_size, how)

    def signature(self, frame: av.VideoFrame) -> np.ndarray:
        """The frame scaled down to a longer side of 64."""
        return self._rgb(frame, self._signature_reformatter, self._signature_size, Interpolation.AREA)

    def _rgb(
        self, frame: av.VideoFrame, reformatter: VideoReformatter, size: tuple[int, int], how: Interpolation
    ) -> np.ndarray:
        # Where the file does not say, HD is taken for BT.709 and the rest for BT.601, as players do.
        unspecified_hd = frame.colorspace == UNSPECIFIED_COLORSPACE and frame.height >= HD_HEIGHT_PX
        converted = reformatter.reformat(
            frame,
            width=size[0],
            height=size[1],
            format="rgb24",
            src_colorspace=Colorspace.ITU709 if unspecified_hd else None,
            interpolation=how,
            threads=1,
        )
        return np.ascontiguousarray(np.rot90(converted.to_ndarray(), self._turns))

    def _unrotated(self, width_px: int, height_px: int) -> tuple[int, int]:
        return (height_px, width_px) if self._turns % 2 else (width_px, height_px)


@dataclass(frozen=True)
class DecodedFrame:
    """One frame, and what is made of it when it is asked for.

    `time` is in ticks of the stream's time base, none where the file gives none; `end_s` is when the next frame is
    due. `follows`: no frame was left out between it and the one before it.
    """

    frame: av.VideoFrame
    time: int | None
    time_s: float
    end_s: float
    is_sampled: bool
    follows: bool
    converter: FrameConverter

    @cached_property
    def signature(self) -> np.ndarray:
        """RGB, uint8, its longer side 64."""
        return self.converter.signature(self.frame)

    def picture(self) -> np.ndarray:
        """RGB, uint8, (height, width, 3)."""
        return self.converter.picture(self.frame)
