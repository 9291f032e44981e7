"""`vision_stage.shots`: comparing spans finds the shots that comparing every frame finds."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vision_stage import shots
from vision_stage.shots import CUT_DISTANCE, SHORTEST_SHOT_S, ShotDetector

RATE_HZ = 25
SHORTEST_FRAMES = round(SHORTEST_SHOT_S * RATE_HZ) + 1
LONGEST_SPAN_FRAMES = 12


@dataclass(frozen=True)
class Grey:
    """A frame of one brightness, 0..255."""

    time_s: float
    level: float
    follows: bool = True


def distance(one: Grey, other: Grey) -> float:
    return abs(one.level - other.level)


def film(*lengths_and_levels: tuple[int, float]) -> list[Grey]:
    """Frames of 1/25 s, so many of each level."""
    levels = [level for length, level in lengths_and_levels for _ in range(length)]
    return [Grey(number / RATE_HZ, level) for number, level in enumerate(levels)]


def starts_compared_frame_by_frame(frames: Sequence[Grey]) -> list[float]:
    """Where shots begin when every frame is compared with the one before it."""
    starts_s = [frames[0].time_s]
    for one, two in itertools.pairwise(frames):
        if distance(one, two) >= CUT_DISTANCE and two.time_s - starts_s[-1] >= SHORTEST_SHOT_S:
            starts_s.append(two.time_s)
    return starts_s


def starts_found(frames: Sequence[Grey], span_frames: int, kept: set[int] | None = None) -> list[float]:
    """Where shots begin when spans are compared, and only the `kept` frames are there without asking for more."""

    def between(one: Grey, other: Grey) -> list[Grey]:
        return [frame for frame in frames if one.time_s < frame.time_s < other.time_s]

    there = sorted(range(len(frames)) if kept is None else kept | {0, len(frames) - 1})
    looks = [
        Grey(frames[number].time_s, frames[number].level, number == before + 1)
        for before, number in itertools.pairwise((-1, *there))
    ]
    detector = ShotDetector(distance, between)
    for at in range(0, len(looks), span_frames):
        detector.add(looks[at : at + span_frames])
    detector.finish()
    return [shot.start_s for shot in detector.shots(frames[-1].time_s)]


# Levels 60 apart with a jitter of 4 at most: a cut is one, and nothing else is.
SHOTS = st.lists(
    st.tuples(st.integers(SHORTEST_FRAMES, 60), st.sampled_from([60.0, 120.0, 180.0, 240.0])), min_size=1, max_size=8
)


@given(SHOTS, st.integers(1, LONGEST_SPAN_FRAMES), st.data())
@example([(16, 60.0), (16, 120.0), (16, 60.0)], 10, None)
def test_spans_give_the_shots_that_all_frames_give(
    scenes: list[tuple[int, float]], span_frames: int, data: st.DataObject | None
) -> None:
    frames = film(*scenes)
    kept = None
    if data:
        jitter = data.draw(st.lists(st.floats(-4, 4), min_size=len(frames), max_size=len(frames)))
        frames = [Grey(frame.time_s, frame.level + more) for frame, more in zip(frames, jitter, strict=True)]
        step = data.draw(st.integers(1, 3))
        kept, span_frames = set(range(0, len(frames), step)), max(1, span_frames // step)
    expected = [round(start_s, 3) for start_s in starts_compared_frame_by_frame(frames)]
    assert starts_found(frames, span_frames, kept) == expected


def test_a_span_longer_than_the_shortest_shot_would_miss_one() -> None:
    frames = film((25, 60), (SHORTEST_FRAMES, 180), (25, 60))
    assert starts_found(frames, LONGEST_SPAN_FRAMES) == starts_compared_frame_by_frame(frames)
    assert starts_found(frames, 48) != starts_compared_frame_by_frame(frames)


def test_asking_for_a_whole_cut_between_spans_would_miss_those_that_movement_hides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first shot darkens before the brighter one comes, so that the ends of the span differ by less than the cut.
    frames = film((20, 60), (1, 56), (1, 52), (1, 48), (2, 44), (25, 76))
    assert starts_found(frames, 10) == starts_compared_frame_by_frame(frames) == [0.0, 1.0]
    monkeypatch.setattr(shots, "POSSIBLE_DISTANCE", CUT_DISTANCE)
    assert starts_found(frames, 10) == [0.0]


@pytest.mark.parametrize("span_frames", range(1, LONGEST_SPAN_FRAMES + 1))
@pytest.mark.parametrize("at", [50, 53, 57])
def test_a_flash_is_no_cut(span_frames: int, at: int) -> None:
    assert starts_found(film((at, 60), (2, 250), (60, 62)), span_frames) == [0.0]


def test_a_flash_at_a_cut_does_not_hide_it() -> None:
    assert starts_found(film((50, 60), (2, 250), (60, 180)), 8) == [0.0, 2.0]


def test_a_change_at_the_very_end_begins_a_shot() -> None:
    assert starts_found(film((50, 60), (3, 200)), 8) == [0.0, 2.0]


def test_shots_are_settled_up_to_a_change_that_may_be_a_flash() -> None:
    frames = film((20, 60), (40, 200))
    detector: ShotDetector[Grey] = ShotDetector(distance, lambda _one, _other: [])
    assert detector.add(frames[:16]) == frames[15].time_s
    assert detector.add(frames[16:24]) == detector.add(frames[24:32]) == frames[19].time_s
    assert detector.add(frames[32:40]) == frames[39].time_s
    assert [detector.index_at(frame.time_s) for frame in frames[18:22]] == [0, 0, 1, 1]


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0, 255)), min_size=1, max_size=20), st.integers(1, 12))
def test_shots_follow_one_another_without_gaps(scenes: list[tuple[int, float]], span_frames: int) -> None:
    frames = film(*scenes)
    detector: ShotDetector[Grey] = ShotDetector(distance, lambda _one, _other: [])
    for at in range(0, len(frames), span_frames):
        detector.add(frames[at : at + span_frames])
    detector.finish()
    found = detector.shots(frames[-1].time_s)
    assert found[0].start_s == 0.0
    assert found[-1].end_s == round(frames[-1].time_s, 3)
    assert all(one.end_s == other.start_s for one, other in itertools.pairwise(found))
    assert all(shot.end_s - shot.start_s >= SHORTEST_SHOT_S - 2e-3 for shot in found[:-1])
    assert [shot.index for shot in found] == list(range(len(found)))
