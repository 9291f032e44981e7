"""`media_stage.description`: from ffprobe's answers to what probe.json says, or to a rejection."""

import pytest

from media_stage.description import (
    check_duration,
    check_sample,
    choose_tracks,
    clean_tags,
    describe,
    explain_failure,
    is_variable_rate,
    parse_progress,
    rotation,
)
from media_stage.ffprobe import FileReport, PacketReport, PacketSample, SideData, StreamReport
from stage_contract.errors import ItemRejected
from stage_contract.outputs import ProbeOutput
from stage_contract.vocabulary import Reason

MP4_HEAD = b"\0\0\0\x18ftypisom"


def picture(index: int = 0, **values: object) -> StreamReport:
    known = {"index": index, "codec_type": "video", "codec_name": "h264", "width": 640, "height": 360}
    return StreamReport.model_validate(known | {"r_frame_rate": "25/1", "avg_frame_rate": "25/1"} | values)


def sound(index: int = 1, **values: object) -> StreamReport:
    known = {"index": index, "codec_type": "audio", "codec_name": "aac", "sample_rate": "48000", "channels": 2}
    return StreamReport.model_validate(known | values)


def report(*streams: StreamReport, **values: object) -> FileReport:
    known = {"format_name": "mov,mp4", "probe_score": 100, "duration": "10.0"}
    return FileReport.model_validate({"streams": [s.model_dump() for s in streams], "format": known | values})


def packets(*times_s: float, index: int = 0) -> PacketSample:
    return PacketSample(packets=tuple(PacketReport(stream_index=index, pts_time=t) for t in times_s))


def described(*streams: StreamReport, bits: dict[str, int] | None = None) -> ProbeOutput:
    file = report(*streams)
    return describe(file, choose_tracks(file), packets(), bits or {}, "ab" * 32, 5, 10.0)


def rejection_of(file: FileReport) -> ItemRejected:
    with pytest.raises(ItemRejected) as caught:
        choose_tracks(file)
    return caught.value


def test_the_default_picture_comes_first_then_the_larger_and_covers_last() -> None:
    output = described(
        picture(0, disposition={"attached_pic": 1, "default": 1}, width=3000, height=3000),
        picture(1, width=1920, height=1080),
        picture(2, width=640, height=360, disposition={"default": 1}),
        picture(3, width=1280, height=720, disposition={"default": 1}),
    )
    assert [stream.index for stream in output.video] == [3, 2, 1, 0]
    assert output.video[-1].is_cover


def test_a_commentary_or_a_track_for_the_blind_is_not_the_main_sound() -> None:
    output = described(
        sound(0, disposition={"comment": 1, "default": 1}), sound(1, disposition={"visual_impaired": 1}), sound(2)
    )
    assert [stream.index for stream in output.audio] == [2, 0, 1]


def test_a_telephone_held_upright_gives_an_upright_picture() -> None:
    # Telephones write a counter-clockwise angle of -90 degrees for a picture to be turned clockwise by 90.
    upright = picture(width=1920, height=1080, side_data_list=({"side_data_type": "Display Matrix", "rotation": -90},))
    video = described(upright).video[0]
    assert (video.width_px, video.height_px, video.rotation_deg) == (1080, 1920, 90)


@pytest.mark.parametrize(("counter_clockwise", "clockwise"), [(0, 0), (90, 270), (180, 180), (-180, 180), (-89.6, 90)])
def test_rotation_is_told_clockwise_in_quarter_turns(counter_clockwise: float, clockwise: int) -> None:
    stream = picture().model_copy(update={"side_data_list": (SideData(rotation=counter_clockwise),)})
    assert rotation(stream) == clockwise


def test_bit_depth_is_the_pixel_formats_own() -> None:
    video = described(picture(pix_fmt="yuv420p10le", bits_per_raw_sample="8"), bits={"yuv420p10le": 10}).video[0]
    assert video.bit_depth == 10


def test_even_frames_with_times_rounded_to_milliseconds_are_a_constant_rate() -> None:
    times_s = [round(number / 29.97, 3) for number in range(100)]
    assert not is_variable_rate(picture(avg_frame_rate="2997/100", r_frame_rate="2997/100"), packets(*times_s))


def test_frames_out_of_display_order_are_a_constant_rate() -> None:
    assert not is_variable_rate(picture(), packets(0.0, 0.16, 0.08, 0.04, 0.12, 0.32, 0.24, 0.2, 0.28))


def test_one_dropped_frame_does_not_make_the_rate_variable() -> None:
    times_s = [number / 25 for number in range(150) if number != 70]
    assert not is_variable_rate(picture(), packets(*times_s))


def test_frames_that_come_unevenly_are_a_variable_rate() -> None:
    times_s = [0.0, 0.04, 0.08, 0.3, 0.34, 0.7, 0.74, 0.78, 1.5, 1.54]
    assert is_variable_rate(picture(), packets(*times_s))


def test_a_rate_that_varies_later_in_the_file_shows_in_the_mean() -> None:
    assert is_variable_rate(picture(r_frame_rate="60/1", avg_frame_rate="22/1"), packets(0.0, 1 / 60, 2 / 60, 3 / 60))


def test_interlaced_fields_are_a_constant_rate() -> None:
    times_s = [number / 25 for number in range(50)]
    assert not is_variable_rate(picture(r_frame_rate="50/1", avg_frame_rate="25/1"), packets(*times_s))


def test_an_unknown_rate_is_none() -> None:
    assert described(picture(r_frame_rate="0/0", avg_frame_rate="0/0")).video[0].frame_rate_hz is None


def test_the_language_und_is_no_language() -> None:
    output = described(sound(0, tags={"language": "und"}), sound(1, tags={"language": "fra"}))
    assert [stream.language for stream in output.audio] == [None, "fra"]


def test_tags_are_bounded_and_without_control_characters() -> None:
    tags = clean_tags({f"name{n}": "x" * 5000 for n in range(500)} | {"a": "never"})
    assert len(tags) == 64
    assert max(map(len, tags.values())) == 1000
    assert clean_tags({"tit\0le\n": "\x1b[31mred\r\n"}) == {"tit le": "[31mred"}


def test_a_format_that_ffmpeg_only_guesses_is_no_media() -> None:
    assert rejection_of(report(sound(0), probe_score=5)).reason is Reason.NOT_MEDIA


def test_streams_that_ffmpeg_does_not_know_are_unsupported_and_named() -> None:
    rejected = rejection_of(report(sound(0, codec_name=None), StreamReport(index=1, codec_type="data")))
    assert rejected.reason is Reason.UNSUPPORTED
    assert "audio unknown" in rejected.message


def test_a_cover_without_sound_is_unsupported() -> None:
    assert rejection_of(report(picture(0, disposition={"attached_pic": 1}))).reason is Reason.UNSUPPORTED


def test_a_key_id_in_the_tags_means_encrypted() -> None:
    assert rejection_of(report(picture(tags={"ENC_KEY_ID": "abc"}))).reason is Reason.ENCRYPTED


@pytest.mark.parametrize(("duration_s", "reason"), [(10.0, Reason.CORRUPT), (0.0, Reason.ZERO_DURATION)])
def test_a_header_without_content_is_corrupt_if_it_claims_to_last(duration_s: float, reason: Reason) -> None:
    with pytest.raises(ItemRejected) as caught:
        check_sample(packets(), choose_tracks(report(picture())), duration_s)
    assert caught.value.reason is reason


def test_encryption_of_a_secondary_track_does_not_reject() -> None:
    secret = PacketReport(stream_index=1, side_data_list=(SideData(side_data_type="Encryption info"),))
    tracks = choose_tracks(report(picture(0), sound(1)))
    check_sample(PacketSample(packets=(PacketReport(stream_index=0, pts_time=0.0), secret)), tracks, 10.0)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("[hls @ 0x55d0a] Format not on whitelist 'mov'", Reason.PLAYLIST),
        ("[concat @ 0x55d0a] Format not on whitelist 'mov'", Reason.PLAYLIST),
        ("[webp_pipe @ 0x55d0a] Format not on whitelist 'mov'", Reason.UNSUPPORTED),
        ("[gif @ 0x55d0a] Format not on whitelist 'mov'", Reason.UNSUPPORTED),
        ("[tty @ 0x55d0a] Format not on whitelist 'mov'", Reason.UNSUPPORTED),
        ("[mov,mp4 @ 0x55d0a] moov atom not found", Reason.CORRUPT),
        ("Invalid data found when processing input", Reason.CORRUPT),
    ],
)
def test_why_ffprobe_refused_decides_the_reason(stderr: str, reason: Reason) -> None:
    assert explain_failure(MP4_HEAD, stderr, stderr).reason is reason


def test_invalid_data_without_a_containers_beginning_is_no_media() -> None:
    assert explain_failure(b"\x99" * 100, "Invalid data found", "Invalid data found").reason is Reason.NOT_MEDIA


def test_progress_gives_the_last_time_reached() -> None:
    assert parse_progress(b"out_time_us=-15000\nprogress=continue\nout_time_us=2945000\nprogress=end\n") == 2.945
    assert parse_progress(b"out_time_us=N/A\nprogress=end\n") is None


def test_media_as_long_as_the_limit_is_taken_and_longer_is_not() -> None:
    assert check_duration(60.0, 60.0) == 60.0
    with pytest.raises(ItemRejected, match=r"61 s are more than 60 s") as caught:
        check_duration(61.0, 60.0)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("duration_s", [None, 0.0, -1.0])
def test_media_without_a_duration_is_rejected(duration_s: float | None) -> None:
    with pytest.raises(ItemRejected) as caught:
        check_duration(duration_s, 60.0)
    assert caught.value.reason is Reason.ZERO_DURATION
