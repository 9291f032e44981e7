"""`tests.bench.agreement`: what counts as the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage_contract.outputs import Box, Detection, Frame
from tests.bench.agreement import compare_frames, cosine, intersection_over_union, match_boxes

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
