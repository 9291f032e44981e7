"""What a run makes of each asset, from its stages' indexes."""

import pytest

from operators.errors import ChoiceInvalid
from operators.run import decide_fate, run_parameters, summary
from operators.shard import StageIndex, StageItem
from operators.timings import RunItem, RunItemOutcome
from stage_contract.vocabulary import ItemOutcome, Reason, Stage

ASSET = "a" * 64
ALL = tuple(Stage)


def indexes(**outcomes):
    """Indexes that hold one asset; `media_probe="done"` and so on, a Reason for a rejection."""
    found = {}
    for name, told in outcomes.items():
        stage = Stage(name.replace("_", "."))
        if isinstance(told, Reason):
            item = StageItem(fingerprint="1" * 24, outcome=ItemOutcome.REJECTED, reason=told, message=f"it is {told}")
        else:
            item = StageItem(fingerprint="1" * 24, outcome=ItemOutcome(told), message="why")
        found[stage] = StageIndex(stage=stage, items={ASSET: item})
    return {stage: found.get(stage) for stage in Stage}


def test_an_asset_that_every_stage_finished_is_done():
    fate = decide_fate(
        ASSET,
        ALL,
        indexes(
            media_probe="reused",
            media_extract="done",
            audio_transcribe="done",
            vision_analyze="done",
            nlp_enrich="done",
        ),
    )
    assert (fate.outcome, fate.message) == (RunItemOutcome.DONE, "")


def test_a_silent_film_is_done_and_says_what_is_missing():
    fate = decide_fate(ASSET, ALL, indexes(media_probe="done", media_extract=Reason.NO_AUDIO, vision_analyze="done"))
    assert fate.outcome is RunItemOutcome.DONE
    assert "no_audio" in fate.message


def test_what_the_probe_refuses_is_rejected_with_its_reason():
    fate = decide_fate(ASSET, ALL, indexes(media_probe=Reason.PLAYLIST))
    assert (fate.outcome, fate.reason) == (RunItemOutcome.REJECTED, Reason.PLAYLIST)


def test_an_asset_of_which_nothing_can_be_used_is_rejected():
    fate = decide_fate(
        ASSET, ALL, indexes(media_probe="done", media_extract=Reason.NO_AUDIO, vision_analyze=Reason.NO_VIDEO)
    )
    assert (fate.outcome, fate.reason) == (RunItemOutcome.REJECTED, Reason.NO_AUDIO)


@pytest.mark.parametrize("told", [ItemOutcome.FAILED, ItemOutcome.LEFT])
def test_an_asset_ends_as_the_stage_that_did_not_finish_it_says(told):
    fate = decide_fate(
        ASSET,
        ALL,
        indexes(media_probe="done", media_extract="done", audio_transcribe=told, vision_analyze="done"),
    )
    assert fate.outcome == told
    assert fate.message == "audio.transcribe: why"


def test_an_asset_that_a_stage_never_came_to_though_it_could_is_left():
    fate = decide_fate(
        ASSET, ALL, indexes(media_probe="done", media_extract="done", audio_transcribe="done", nlp_enrich="done")
    )
    assert fate.outcome is RunItemOutcome.LEFT
    assert "vision.analyze did not come to it" in fate.message


def test_a_failure_weighs_more_than_what_is_left():
    fate = decide_fate(
        ASSET,
        ALL,
        indexes(media_probe="done", media_extract="done", audio_transcribe="left", vision_analyze="failed"),
    )
    assert (fate.outcome, fate.message) == (RunItemOutcome.FAILED, "vision.analyze: why")


def test_what_is_left_is_not_rejected_for_what_another_stage_refused():
    fate = decide_fate(ASSET, ALL, indexes(media_probe="done", media_extract=Reason.NO_AUDIO, vision_analyze="left"))
    assert fate.outcome is RunItemOutcome.LEFT


def test_a_stage_that_was_not_asked_for_is_not_missed():
    fate = decide_fate(ASSET, (Stage.PROBE, Stage.ANALYZE), indexes(media_probe="done", vision_analyze="done"))
    assert fate.outcome is RunItemOutcome.DONE


def test_the_summary_counts_by_outcome():
    outcomes = RunItemOutcome.DONE, RunItemOutcome.DONE, RunItemOutcome.REJECTED
    items = [RunItem("archive", str(n), None, outcome) for n, outcome in enumerate(outcomes)]
    assert summary(items) == "2 done, 1 rejected"


def test_a_form_value_of_the_wrong_kind_is_refused():
    with pytest.raises(ChoiceInvalid, match="files must be a list"):
        run_parameters({"files": "archive/a.mp4", "stages": []})
