"""A multilingual model, made up and untrained: what it hears is noise, what it is asked and when is real."""

from pathlib import Path

import pytest

from stage_contract.vocabulary import ExitCode, ItemOutcome, Phase, Reason
from tests.images.audio.conversion import convert


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("multilingual")
    folder.chmod(0o755)
    done = convert(folder, "--vocabulary", "51865")
    assert done.returncode == 0, done.stderr
    return folder / "models"


@pytest.fixture(scope="module")
def greeting(archive, speech) -> str:
    """Three seconds of speech: an untrained model writes without end, so it gets little to hear."""
    return archive.add("greeting", "file:/source:0-3.25", source=speech)


def detections(attempt):
    return [record.asset_id for record in attempt.phases if record.phase is Phase.LANGUAGE_DETECTION]


def test_the_language_is_detected_once_per_asset_that_has_speech(first_run, greeting, multilingual):
    archive = first_run.archive
    request = archive.request(greeting, first_run.silent, beam_size=1)
    attempt = archive.run(request, multilingual)
    assert attempt.exit_code == ExitCode.DONE, attempt.output
    assert detections(attempt) == [greeting]
    transcript = archive.transcript(request, greeting)
    assert (transcript.language is None) == (transcript.segments == ())


def test_a_language_that_was_asked_for_is_not_detected(archive, greeting, multilingual):
    attempt = archive.run(archive.request(greeting, language="de", beam_size=1), multilingual)
    assert attempt.exit_code == ExitCode.DONE, attempt.output
    assert detections(attempt) == []


def test_a_language_that_only_newer_models_know_is_refused(archive, greeting, multilingual):
    request = archive.request(greeting, language="yue")
    attempt = archive.run(request, multilingual)
    assert [item.outcome for item in attempt.outcome.items] == [ItemOutcome.REJECTED]
    rejection = archive.result(request, greeting).rejection
    assert rejection is not None
    assert rejection.reason is Reason.UNSUPPORTED
    assert "made-up knows 99 languages" in rejection.message
