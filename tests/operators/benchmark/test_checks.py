"""A fast variant with other outputs is found out."""

from operators.benchmark.checks import (
    TOLERANCES,
    check_enrichments,
    check_frames,
    check_transcripts,
    judge,
    tell_failures,
)
from stage_contract.outputs import Box, Detection, Enrichment, Entity, Frame, Segment, Transcript
from stage_contract.vocabulary import Stage

ASSET = "a" * 64


def transcript(*said: tuple[float, str]) -> Transcript:
    segments = tuple(
        Segment(index=place, start_s=at, end_s=at + 2, text=f" {text}", mean_log_probability=0, no_speech_probability=0)
        for place, (at, text) in enumerate(said)
    )
    return Transcript(language="en", language_probability=1, duration_s=60, speech_duration_s=60, segments=segments)


def frame(embedding: tuple[float, ...], x_px: float = 10, time_s: float = 0) -> Frame:
    box = Box(x_px=x_px, y_px=10, width_px=100, height_px=100)
    return Frame(
        index=0,
        time_s=time_s,
        shot_index=0,
        brightness=0,
        contrast=0,
        sharpness=0,
        colors=(),
        detections=(Detection(label="person", confidence=0.9, box=box),),
        embedding=embedding,
    )


def failures(stage: Stage, findings: object) -> list[str]:
    found = judge(1, stage, ASSET, findings)  # type: ignore[arg-type]
    return [check.name for check in found if not check.is_passed]


SPEECH = transcript((0, "ask not what your country can do for you"), (5, "ask what you can do for your country"))


def test_the_same_words_at_the_same_times_pass() -> None:
    assert failures(Stage.TRANSCRIBE, check_transcripts(SPEECH, SPEECH)) == []


def test_other_words_fail() -> None:
    other = transcript((0, "ask not what our county can do for you"), (5, "ask what you can do for your county"))
    assert failures(Stage.TRANSCRIBE, check_transcripts(SPEECH, other)) == ["word error rate"]


def test_two_words_of_a_short_text_are_no_finding() -> None:
    other = transcript((0, "ask not what your county can do for you"), (5, "ask what you can do for your county"))
    assert failures(Stage.TRANSCRIBE, check_transcripts(SPEECH, other)) == []


def test_another_text_of_two_words_is_one() -> None:
    assert failures(Stage.TRANSCRIBE, check_transcripts(transcript((0, "good evening")), transcript((0, "an oven"))))


def test_of_few_boxes_one_may_come_or_go() -> None:
    without = frame((1, 0)).model_copy(update={"detections": ()})
    assert failures(Stage.ANALYZE, check_frames([frame((1, 0))] * 3, [frame((1, 0)), frame((1, 0)), without])) == []
    assert failures(Stage.ANALYZE, check_frames([frame((1, 0))] * 3, [frame((1, 0)), without, without])) == [
        "share of boxes with a partner"
    ]


def test_the_same_words_at_other_times_fail() -> None:
    other = transcript((1, "ask not what your country can do for you"), (6.2, "ask what you can do for your country"))
    assert failures(Stage.TRANSCRIBE, check_transcripts(SPEECH, other)) == ["p95 of segment start drift"]


def test_silence_against_speech_fails_with_a_reason() -> None:
    checks = judge(1, Stage.TRANSCRIBE, ASSET, check_transcripts(SPEECH, transcript()))
    assert "only one of the two has segments" in tell_failures(checks, lambda _: "tape.mp4")


def test_a_vector_that_points_elsewhere_fails() -> None:
    assert failures(Stage.ANALYZE, check_frames([frame((1, 0))], [frame((0.9999, 0.01))])) == []
    assert failures(Stage.ANALYZE, check_frames([frame((1, 0))], [frame((0.9, 0.4))])) == [
        "lowest cosine of CLIP vectors"
    ]


def test_boxes_elsewhere_fail() -> None:
    assert failures(Stage.ANALYZE, check_frames([frame((1, 0))], [frame((1, 0), x_px=25)])) == ["mean overlap of boxes"]
    assert "share of boxes with a partner" in failures(
        Stage.ANALYZE, check_frames([frame((1, 0))], [frame((1, 0), x_px=400)])
    )


def test_other_frames_fail_every_check_of_them() -> None:
    assert len(failures(Stage.ANALYZE, check_frames([frame((1, 0))], [frame((1, 0), time_s=1)]))) == 3


def test_other_names_fail() -> None:
    def found(*names: str) -> Enrichment:
        entities = tuple(Entity(segment_index=0, start=0, end=1, text=name, label="PERSON") for name in names)
        return Enrichment(
            language="en",
            entities=entities,
            entity_engine="e",
            key_phrases=(),
            sentiments=(),
            sentiment_engine="s",
        )

    assert failures(Stage.ENRICH, check_enrichments(found("Kennedy"), found("Kennedy"))) == []
    assert failures(Stage.ENRICH, check_enrichments(found("Kennedy", "moon"), found("Kennedy", "noon"))) == []
    assert failures(Stage.ENRICH, check_enrichments(found("Kennedy", "moon"), found("Canada", "noon"))) == [
        "share of entities with a partner"
    ]


def test_a_failure_is_told_with_its_figure_and_what_is_allowed() -> None:
    checks = judge(1, Stage.ANALYZE, ASSET, check_frames([frame((1, 0))], [frame((0.6, 0.8))]))
    told = tell_failures(checks, lambda _: "tape.mp4")
    assert told == "vision.analyze of tape.mp4: lowest cosine of CLIP vectors 0.6, allowed is at least 0.99"


def test_every_tolerance_has_a_name_of_its_own() -> None:
    assert len({one.name for one in TOLERANCES}) == len(TOLERANCES)
    assert str(TOLERANCES[1]) == "p95 of segment start drift at most 0.5 s"
