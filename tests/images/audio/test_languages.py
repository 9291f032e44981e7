"""A multilingual model, made up and untrained: what it hears is noise, what it is asked and when is real."""

from pathlib import Path

import pytest

from stage_contract.vocabulary import ExitCode, ItemOutcome, Phase, Reason
from tests.images.audio.conversion import convert
from tests.images.audio.sounds import Sounds, transcript
from tests.stage_container import Finished


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multilingual")
    done = convert(folder, "--vocabulary", "51865")
    assert done.exit_code == 0, done.stderr
    return folder / "models"


@pytest.fixture(scope="module")
def greeting(sounds: Sounds) -> str:
    """Three seconds of speech: an untrained model writes without end, so it gets little to hear."""
    return sounds.add("greeting", "file:/speech:0-3.25")


def detections(done: Finished) -> list[str | None]:
    return [record.asset_id for record in done.phases if record.phase is Phase.LANGUAGE_DETECTION]


def test_the_language_is_detected_once_per_asset_that_has_speech(sounds, first_run, greeting, multilingual):
    done = sounds.bench.run(sounds.request(greeting, first_run.silent, beam_size=1), multilingual)
    assert done.exit_code == ExitCode.DONE, done.log
    assert detections(done) == [greeting]
    heard = transcript(done, greeting)
    assert (heard.language is None) == (heard.segments == ())


def test_a_language_that_was_asked_for_is_not_detected(sounds, greeting, multilingual):
    done = sounds.bench.run(sounds.request(greeting, language="de", beam_size=1), multilingual)
    assert done.exit_code == ExitCode.DONE, done.log
    assert detections(done) == []


def test_a_language_that_only_newer_models_know_is_refused(sounds, greeting, multilingual):
    done = sounds.bench.run(sounds.request(greeting, language="yue"), multilingual)
    assert [item.outcome for item in done.outcome.items] == [ItemOutcome.REJECTED]
    rejection = done.result(greeting).rejection
    assert rejection is not None
    assert rejection.reason is Reason.UNSUPPORTED
    assert "made-up knows 99 languages" in rejection.message
