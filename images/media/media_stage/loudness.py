"""Loudness after EBU R128 from what ffmpeg's `ebur128` and `ametadata` filters print. Pure."""

import math
import re
from dataclasses import dataclass

TAIL_BYTES = 65_536
"""Far more than one printed frame, even of 64 channels; the last frame holds the totals."""

ABSOLUTE_GATE_LUFS = -70.0
"""Blocks below it do not count (ITU-R BS.1770-4); ffmpeg gives it when no block counted."""

BLOCK_S = 0.1
LEAST_RANGE_S = 3.5
"""Loudness range compares 3 s windows (EBU Tech 3342); with fewer than five of them ffmpeg says 20 LU for any sound."""


@dataclass(frozen=True)
class Loudness:
    """Of a whole track. All null when nothing was louder than the gate; the range also when the track is short."""

    integrated_lufs: float | None
    loudness_range_lu: float | None
    true_peak_dbtp: float | None


def parse_loudness(printed: bytes) -> Loudness:
    """The totals of the last frame in `printed`, the end of what was printed.

    The peak is printed as a share of full scale with three decimals, so a true peak under about -66 dBTP is null.
    """
    integrated_lufs = _last(printed, rb"lavfi\.r128\.I=")
    if integrated_lufs is None or integrated_lufs <= ABSOLUTE_GATE_LUFS:
        return Loudness(None, None, None)
    peak = _last(printed, rb"lavfi\.r128\.true_peak=")
    blocks = _last(printed, rb"frame:") or 0
    return Loudness(
        integrated_lufs=integrated_lufs,
        loudness_range_lu=_last(printed, rb"lavfi\.r128\.LRA=") if blocks * BLOCK_S >= LEAST_RANGE_S else None,
        true_peak_dbtp=round(20 * math.log10(peak), 2) if peak else None,
    )


def _last(printed: bytes, prefix: bytes) -> float | None:
    values = re.findall(rb"^" + prefix + rb"(\S+)", printed, re.MULTILINE)
    value = float(values[-1]) if values else math.nan
    return value if math.isfinite(value) else None
