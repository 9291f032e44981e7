"""What the vision stage decides without its libraries: frames, streams, tags, GPU architectures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage_contract.errors import ItemRejected
from stage_contract.outputs import ProbeOutput, VideoStream
from stage_contract.vocabulary import Reason
from vision_stage.cuda_architectures import serves
from vision_stage.sampling import SampleGrid, widened_interval_s
from vision_stage.streams import analysed_size, main_video_stream
from vision_stage.tags import best_tags


def stream(index: int, width_px: int, height_px: int, is_cover: bool = False) -> VideoStream:
    return VideoStream(index=index, codec="h264", width_px=width_px, height_px=height_px, is_cover=is_cover)


def probe(*video: VideoStream) -> ProbeOutput:
    return ProbeOutput(sha256="0" * 64, size_bytes=1, container="avi", duration_s=1.0, video=video)


def test_the_largest_stream_is_analysed_whatever_its_place() -> None:
    assert main_video_stream(probe(stream(0, 320, 240), stream(2, 1280, 720), stream(3, 640, 480))).index == 2


def test_the_first_of_equal_streams_is_analysed() -> None:
    assert main_video_stream(probe(stream(3, 640, 480), stream(1, 480, 640))).index == 1


@pytest.mark.parametrize("video", [(), (stream(1, 3000, 3000, is_cover=True),), (stream(0, 0, 0),)])
def test_a_file_without_a_moving_picture_is_rejected(video: tuple[VideoStream, ...]) -> None:
    with pytest.raises(ItemRejected) as caught:
        main_video_stream(probe(*video))
    assert caught.value.reason is Reason.NO_VIDEO


def test_a_frame_that_would_fill_the_memory_is_rejected() -> None:
    with pytest.raises(ItemRejected, match="65535x65535") as caught:
        main_video_stream(probe(stream(0, 65_535, 65_535)))
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("size", "analysed"),
    [((3840, 2160), (1920, 1080)), ((1080, 1920), (1080, 1920)), ((320, 240), (320, 240)), ((10_000, 2), (1920, 1))],
)
def test_only_large_frames_are_scaled_down(size: tuple[int, int], analysed: tuple[int, int]) -> None:
    assert analysed_size(*size) == analysed


def test_a_frame_a_second_is_taken_from_ntsc_video() -> None:
    grid = SampleGrid(1.0, 100)
    times = [number * 1001 / 30_000 for number in range(150)]
    assert [round(time_s, 3) for time_s in times if grid.takes(time_s)] == [0.0, 1.001, 2.002, 3.003, 4.004]


def test_a_frame_at_the_very_multiple_of_the_interval_is_taken() -> None:
    grid = SampleGrid(0.1, 1000)
    assert all(grid.takes(number * 0.1) for number in range(200))


@given(
    times=st.lists(st.floats(0, 10_000), min_size=1, max_size=200).map(sorted),
    interval_s=st.floats(0.04, 100),
    max_frames=st.integers(1, 50),
)
def test_samples_are_bounded_and_no_two_share_an_interval(
    times: list[float], interval_s: float, max_frames: int
) -> None:
    grid = SampleGrid(interval_s, max_frames)
    taken = [time_s for time_s in times if grid.takes(time_s)]
    assert taken[0] == times[0]
    assert len(taken) <= max_frames
    cells = [math.floor((time_s + 1e-6) / interval_s) for time_s in taken]
    assert len(set(cells)) == len(cells)


@given(interval_s=st.floats(0.04, 60), duration_s=st.floats(0, 90_000), max_frames=st.integers(1, 5_000))
def test_the_widened_interval_fits_the_duration_into_the_most_frames(
    interval_s: float, duration_s: float, max_frames: int
) -> None:
    widened_s = widened_interval_s(interval_s, duration_s, max_frames)
    assert widened_s >= interval_s
    assert duration_s / widened_s <= max_frames * (1 + 1e-9)


def test_tags_are_the_softmax_of_the_scaled_similarities() -> None:
    tags = best_tags([0.30, 0.29, 0.20], ["a dog", "a cat", "a map"], logit_scale=100.0)
    assert [tag.label for tag in tags] == ["a dog", "a cat"]
    assert tags[0].score == pytest.approx(1 / (1 + math.exp(-1) + math.exp(-10)), abs=1e-4)
    assert tags[1].score == pytest.approx(math.exp(-1) * tags[0].score, abs=1e-4)


def test_no_tag_is_given_when_every_label_fits_as_well() -> None:
    labels = [f"label {number}" for number in range(11)]
    assert best_tags([0.2] * 11, labels, logit_scale=100.0) == ()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=100))
def test_tags_are_few_and_ordered(similarities: list[float]) -> None:
    tags = best_tags(similarities, [f"{number}" for number in range(len(similarities))], logit_scale=100.0)
    scores = [tag.score for tag in tags]
    assert len(tags) <= 5
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) <= 1 + 1e-3


@pytest.mark.parametrize(
    ("capability", "architectures", "served"),
    [
        ((8, 6), ["sm_80", "sm_90"], True),
        ((8, 0), ["sm_86"], False),
        ((12, 0), ["sm_80", "sm_90", "sm_100"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((12, 0), ["sm_120"], True),
        ((7, 0), ["sm_75", "compute_75"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_90a", "compute_90a"], False),
        ((8, 0), [], False),
    ],
)
def test_a_gpu_is_served_by_its_own_or_earlier_code(
    capability: tuple[int, int], architectures: list[str], served: bool
) -> None:
    assert serves(capability, architectures) is served
