"""`media_stage.loudness` and `media_stage.flac`: numbers out of what ffmpeg leaves."""

from pathlib import Path

import pytest

from media_stage.flac import count_samples
from media_stage.loudness import Loudness, parse_loudness


def printed(frame: int, integrated: str, loudness_range: str, peak: str) -> bytes:
    return (
        f"frame:{frame:<4} pts:{frame * 1600} pts_time:{frame / 10}\nlavfi.r128.M=-19.9\nlavfi.r128.I={integrated}\n"
        f"lavfi.r128.LRA={loudness_range}\nlavfi.r128.true_peaks_ch0=0.1\nlavfi.r128.true_peak={peak}\n"
    ).encode()


def test_the_last_frame_holds_the_totals() -> None:
    tail = b"8.r128.M=-1\n" + printed(98, "-30.0", "1.0", "0.1") + printed(99, "-23.12", "4.5", "0.501")
    assert parse_loudness(tail) == Loudness(-23.12, 4.5, -6.0)


def test_silence_has_no_loudness() -> None:
    assert parse_loudness(printed(99, "-70.000", "0.000", "0.000")) == Loudness(None, None, None)


def test_a_track_too_short_to_be_measured_has_no_loudness() -> None:
    assert parse_loudness(b"") == Loudness(None, None, None)
    assert parse_loudness(printed(0, "nan", "0.0", "0.1")) == Loudness(None, None, None)


@pytest.mark.parametrize(("frame", "range_lu"), [(30, None), (40, 20.0)])
def test_a_range_from_fewer_than_five_windows_is_not_told(frame: int, range_lu: float | None) -> None:
    assert parse_loudness(printed(frame, "-21.8", "20.000", "0.2")).loudness_range_lu == range_lu


def test_a_peak_below_what_is_printed_is_not_told() -> None:
    assert parse_loudness(printed(99, "-68.0", "1.0", "0.000")).true_peak_dbtp is None


def test_samples_are_counted_up_to_36_bits(tmp_path: Path) -> None:
    samples = (1 << 36) - 2
    stream_info = bytes(10) + (16_000 << 44 | 0 << 41 | 15 << 36 | samples).to_bytes(8, "big") + bytes(16)
    file = tmp_path / "a.flac"
    file.write_bytes(b"fLaC\x00\x00\x00\x22" + stream_info)
    assert count_samples(file) == samples


def test_an_absent_or_torn_file_has_no_samples(tmp_path: Path) -> None:
    (tmp_path / "torn.flac").write_bytes(b"fLaC\x00")
    assert count_samples(tmp_path / "torn.flac") == 0
    assert count_samples(tmp_path / "absent.flac") == 0
