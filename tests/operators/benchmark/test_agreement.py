"""What counts as the same, and by how much texts, times and names differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.demo import word_error_rate as library_rate
from operators.benchmark.agreement import (
    compare_frames,
    cosine,
    edits,
    entity_overlap,
    intersection_over_union,
    match_boxes,
    percentile,
    start_drift_s,
    word_error_rate,
)
from stage_contract.outputs import Box, Detection, Entity, Frame, Segment

SIDES = st.floats(min_value=1, max_value=1_000)
BOXES = st.builds(Box, x_px=SIDES, y_px=SIDES, width_px=SIDES, height_px=SIDES)


def box(x_px: float, y_px: float, width_px: float = 100, height_px: float = 100) -> Box:
    return Box(x_px=x_px, y_px=y_px, width_px=width_px, height_px=height_px)


def seen(label: str, where: Box) -> Detection:
    return Detection(label=label, confidence=0.9, box=where)


def frame(*detections: Detection, time_s: float = 0.0, embedding: tuple[float, ...] = (1.0, 0.0)) -> Frame:
    return Frame(
        index=0,
        time_s=time_s,
        shot_index=0,
        brightness=0,
        contrast=0,
        sharpness=0,
        colors=(),
        detections=detections,
        embedding=embedding,
    )


@given(BOXES, BOXES)
def test_overlap_is_symmetric_and_a_share(first: Box, second: Box) -> None:
    overlap = intersection_over_union(first, second)
    assert 0 <= overlap <= 1 + 1e-9
    assert overlap == pytest.approx(intersection_over_union(second, first))
    assert intersection_over_union(first, first) == pytest.approx(1)


def test_half_a_box_overlaps_by_a_third() -> None:
    assert intersection_over_union(box(0, 0), box(50, 0)) == pytest.approx(1 / 3)
    assert intersection_over_union(box(0, 0), box(100, 0)) == 0
    assert intersection_over_union(box(0, 0, 0, 0), box(0, 0, 0, 0)) == 0


def test_a_box_has_one_partner_the_best() -> None:
    near, nearer = seen("bus", box(0, 20)), seen("bus", box(0, 10))
    assert match_boxes([seen("bus", box(0, 0))], [near, nearer]) == [pytest.approx(90 / 110)]


def test_another_label_is_another_object() -> None:
    assert match_boxes([seen("bus", box(0, 0))], [seen("car", box(0, 0))]) == []


def test_equal_results_agree_in_everything() -> None:
    frames = [frame(seen("bus", box(0, 0))), frame(time_s=1.0)]
    told = compare_frames(frames, frames)
    assert (told.lowest_cosine, told.matched, told.mean_iou) == (1, 1, 1)
    assert (told.frames, told.boxes) == (2, 2)


def test_a_box_that_only_one_found_counts_against_the_match() -> None:
    first, second = [frame(seen("bus", box(0, 0)), seen("cat", box(0, 0)))], [frame(seen("bus", box(0, 0)))]
    assert compare_frames(first, second).matched == pytest.approx(2 / 3)


def test_the_worst_frame_is_told() -> None:
    first = [frame(), frame(time_s=1.0)]
    second = [frame(), frame(time_s=1.0, embedding=(0.0, 1.0))]
    assert compare_frames(first, second).lowest_cosine == pytest.approx(0)


def test_results_of_other_frames_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same frames"):
        compare_frames([frame()], [frame(time_s=1.0)])


def test_the_length_of_a_vector_does_not_matter() -> None:
    assert cosine((3.0, 4.0), (6.0, 8.0)) == pytest.approx(1)


WORDS = st.lists(st.sampled_from(["one", "two", "three", "four", "five", "six", "seven"]), max_size=25)


@given(WORDS, WORDS)
def test_the_word_error_rate_is_that_of_the_library_of_the_demo(spoken: list[str], heard: list[str]) -> None:
    texts = " ".join(spoken), " ".join(heard)
    expected = float(bool(heard)) if not spoken else library_rate(*texts)
    assert word_error_rate(*texts) == pytest.approx(expected)


def test_case_and_punctuation_are_no_errors() -> None:
    assert word_error_rate("Ask not, what your country", "ask not what YOUR country!") == 0


def test_long_texts_that_are_alike_are_compared_at_once() -> None:
    text = [str(number) for number in range(20_000)]
    other = [word for place, word in enumerate(text) if place % 200]
    assert edits(text, other) == 100


def utterance(start_s: float) -> Segment:
    return Segment(
        index=0, start_s=start_s, end_s=start_s + 1, text="", mean_log_probability=0, no_speech_probability=0
    )


def test_drift_is_how_far_segments_start_from_their_nearest() -> None:
    first, second = [utterance(0), utterance(10)], [utterance(0.2), utterance(10)]
    assert start_drift_s(first, second) == pytest.approx(0.2, abs=0.04)


def test_a_segment_that_only_one_side_has_is_drift() -> None:
    assert (start_drift_s([utterance(0)], [utterance(0), utterance(30)]) or 0) > 20


def test_there_is_no_drift_to_tell_when_one_side_has_nothing() -> None:
    assert start_drift_s([utterance(0)], []) is None
    assert start_drift_s([], []) == 0


def named(text: str, label: str = "PERSON") -> Entity:
    return Entity(segment_index=0, start=0, end=len(text), text=text, label=label)


def test_entities_agree_by_text_and_label() -> None:
    kennedy, moon = named("Kennedy"), named("moon", "LOC")
    assert entity_overlap([kennedy, moon], [moon, kennedy]) == 1
    assert entity_overlap([kennedy, moon], [kennedy, named("Moon", "ORG")]) == 0.5
    assert entity_overlap([], []) == 1
    assert entity_overlap([kennedy], []) == 0


@given(st.lists(st.floats(0, 100), min_size=1))
def test_a_percentile_lies_within_the_values(values: list[float]) -> None:
    assert min(values) <= percentile(values, 0.95) <= max(values)
    assert percentile(values, 1) == max(values)
