"""Both sides of the benchmark over eleven seconds of speech and nine of film: what they find agrees, and a stage that
finds something else is caught.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from console.demo_media import KENNEDY, STATEMENT
from console.registry import fetch_member
from stage_contract.outputs import Box, TextLine
from stage_contract.vocabulary import Stage
from tests.bench.bench_media import BenchMedia, Recording
from tests.bench.heard import Spoken
from tests.bench.picture_rounds import PlainAnalysis, holds, see_stage
from tests.bench.seen import agreement as compare_sight
from tests.bench.sound_rounds import FLOAT32, INT8, NOW, agreement, hear_plain, hear_stage
from tests.bench.stage_shard import OURS, StageShard
from tests.images.vision.reference import reference_image

SPEECH, FILM = "kennedy.wav", "statement.mp4"


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> BenchMedia:
    archive = tmp_path_factory.mktemp("archive")
    assert KENNEDY.member
    fetch_member(KENNEDY.member, archive / SPEECH)
    fetch_member(STATEMENT, archive / FILM)
    return BenchMedia(archive, (FILM,), (Recording(SPEECH, 11.0, KENNEDY.text),), FILM)


def test_what_is_heard_agrees_and_what_is_wrong_is_caught(media: BenchMedia, tmp_path: Path):
    (recording,) = media.recordings
    shard = StageShard(tmp_path, media.archive, [SPEECH])
    shard.run_all((Stage.PROBE, Stage.EXTRACT))
    words = hear_plain(media.archive, media.recordings, INT8, "--words")
    ours = hear_stage(shard, media.recordings, OURS)
    sides = {FLOAT32: words, INT8: words, NOW: ours}
    assert agreement(recording, sides, words).holds

    late = tuple(
        replace(
            said, words=tuple(replace(word, start_s=word.start_s + 0.5, end_s=word.end_s + 0.5) for word in said.words)
        )
        for said in ours.utterances[SPEECH]
    )
    silent = ours.utterances[SPEECH][:0]
    for wrong in (late, silent):
        assert not agreement(recording, {**sides, NOW: replace(ours, utterances={SPEECH: wrong})}, words).holds
    assert not agreement(replace(recording, quiet=((0.0, 11.0),)), sides, words).holds


def test_what_is_seen_agrees_and_what_is_wrong_is_caught(media: BenchMedia, tmp_path: Path):
    shard = StageShard(tmp_path, media.archive, media.films)
    shard.run(Stage.PROBE)
    ours = see_stage(shard, media.films, OURS, text=True).frames[FILM]
    plain = PlainAnalysis(reference_image(), tmp_path / "plain", media.archive, text=True)
    theirs = plain.run({FILM: [frame.time_s for frame in ours]}).frames[FILM]
    assert holds(compare_sight(theirs, ours))

    for changed in (
        {"brightness": ours[0].brightness * 1.02},
        {"embedding": tuple(reversed(ours[0].embedding))},
        {"detections": ()},
        {"text": (TextLine(text="not there", confidence=1.0, box=Box(x_px=0, y_px=0, width_px=9, height_px=9)),)},
    ):
        assert not holds(compare_sight(theirs, [ours[0].model_copy(update=changed), *ours[1:]]))


def _late(word: Spoken) -> Spoken:
    return replace(word, start_s=word.start_s + 0.5, end_s=word.end_s + 0.5)
