"""The models look at a picture again exactly when it shows something else."""

from pathlib import Path

from stage_contract.vocabulary import Phase
from tests.images.vision.analysis import frames, run_script
from tests.stage_container import Finished


def test_one_changed_digit_is_looked_at_again_and_noise_is_not(tmp_path: Path) -> None:
    told = run_script("look_again.py", tmp_path)
    assert told.splitlines() == [
        "same True",
        "compression noise True",
        "one digit False",
        "text gone False",
        "another size False",
        "fading [False, True, True, True, False, True, True, True]",
        "refused unseen False",
        "another slide True",
    ]


def test_a_picture_that_stands_is_looked_at_once(analysed: Finished) -> None:
    assert analysed.phase(Phase.QUALITY, "standing.mp4").counters == {"images": 6, "unchanged": 4}
    for phase in (Phase.CLIP, Phase.DETECTION, Phase.OCR):
        assert analysed.phase(phase, "standing.mp4").counters["images"] == 2
    first, *stood, changed, last = frames(analysed, "standing.mp4")
    assert [frame.index for frame in (first, *stood, changed, last)] == list(range(6))
    assert all((f.text, f.embedding) == (first.text, first.embedding) for f in stood)
    assert (changed.text, changed.embedding) == (last.text, last.embedding)
    assert [line.text.replace(" ", "") for line in first.text] == ["NIGHTREEL2026"]
    assert [line.text.replace(" ", "") for line in changed.text] == ["NIGHTREEL2027"]
