import pytest

from stage_contract.outputs import Box, Detection, Frame, TextLine
from tests.bench.picture_rounds import holds
from tests.bench.seen import agreement

BOX = Box(x_px=10, y_px=10, width_px=100, height_px=100)


def frame(index: int = 0, *, box: Box = BOX, brightness: float = 100.0, text: str = "NEWS", turned: bool = False):
    return Frame(
        index=index,
        time_s=float(index),
        shot_index=0,
        brightness=brightness,
        contrast=0.0,
        sharpness=0.2,
        colors=(),
        detections=(Detection(label="person", confidence=0.9, box=box),),
        text=(TextLine(text=text, confidence=0.9, box=BOX),),
        embedding=(0.6, 0.8) if turned else (1.0, 0.0),
    )


def test_equal_analyses_agree():
    found = agreement([frame(0), frame(1)], [frame(0), frame(1)])
    assert (found.frames, found.boxes, found.lines) == (2, 2, 2)
    assert holds(found)


@pytest.mark.parametrize(
    "wrong",
    [
        frame(box=Box(x_px=70, y_px=10, width_px=100, height_px=100)),
        frame(brightness=101.1),
        frame(text="OLDS"),
        frame(turned=True),
    ],
    ids=["a box elsewhere", "brighter by more than 1 %", "another text", "another vector"],
)
def test_whatever_differs_is_told(wrong: Frame):
    assert not holds(agreement([frame()], [wrong]))


def test_f1_counts_both_what_is_missing_and_what_is_too_much():
    bare = frame().model_copy(update={"detections": (), "text": ()})
    found = agreement([frame(0), frame(1)], [frame(0), bare.model_copy(update={"index": 1, "time_s": 1.0})])
    assert found.detections_f1 == pytest.approx(2 / 3)
    assert found.text_f1 == pytest.approx(2 / 3)
    assert found.lowest_cosine == pytest.approx(1)
