"""The real image, under the restrictions of production, on real speech."""

import re
import shutil

import pytest

from console.demo import HIGHEST_WORD_ERROR_RATE, word_error_rate
from console.demo_media import KENNEDY
from stage_contract.models import MODELS_LABEL, parse_models
from stage_contract.outputs import SRT_FILE, TRANSCRIPT_FILE, VTT_FILE, Transcript
from stage_contract.vocabulary import ExitCode, ItemOutcome, Phase, PhaseOutcome, Reason, Variant
from tests.images.audio.sounds import IMAGE, TESTS, transcript
from tests.stage_container import image_label


def text_of(heard: Transcript) -> str:
    return " ".join(segment.text for segment in heard.segments)


def english_only() -> bool:
    return parse_models(image_label(IMAGE, MODELS_LABEL))["whisper"].name.endswith(".en")


def test_real_speech_is_written_down(first_run):
    heard = transcript(first_run.done, first_run.spoken)
    assert word_error_rate(KENNEDY.text, text_of(heard)) <= HIGHEST_WORD_ERROR_RATE
    assert heard.language == "en"
    assert heard.duration_s == pytest.approx(11.0, abs=0.1)


def test_words_have_times_in_order_within_their_segment(first_run):
    heard = transcript(first_run.done, first_run.spoken)
    for segment in heard.segments:
        times_s = [time_s for word in segment.words for time_s in (word.start_s, word.end_s)]
        assert times_s == sorted(times_s)
        assert segment.start_s == times_s[0] < times_s[-1] == segment.end_s
        assert "".join(word.text for word in segment.words).strip() == segment.text
        assert all(0 <= word.probability <= 1 for word in segment.words)


def test_times_are_those_of_the_media_after_a_long_silence(first_run):
    heard = transcript(first_run.done, first_run.apart)
    words = [word for segment in heard.segments for word in segment.words]
    assert word_error_rate(KENNEDY.text, text_of(heard)) <= HIGHEST_WORD_ERROR_RATE
    first_start_s = min(word.start_s for word in words if "fellow" in word.text)
    (last_end_s,) = [word.end_s for word in words[-1:]]
    assert 5.0 <= first_start_s <= 8.25
    assert 44.5 <= last_end_s <= 46.0
    assert not [word for word in words if word.end_s > 9.0 and word.start_s < 37.5]
    assert all(segment.end_s <= 9.0 or segment.start_s >= 37.5 for segment in heard.segments)
    assert heard.speech_duration_s < 16.0 < heard.duration_s


def test_silence_a_chord_and_noise_give_no_text(first_run):
    heard = transcript(first_run.done, first_run.silent)
    assert heard.segments == ()
    assert heard.language is None
    assert heard.duration_s == pytest.approx(30.0, abs=0.1)


def test_transcript_and_both_subtitle_files_are_written(first_run):
    result = first_run.done.result(first_run.spoken)
    assert [file.name for file in result.files] == [TRANSCRIPT_FILE, SRT_FILE, VTT_FILE]
    directory = first_run.done.directory(first_run.spoken)
    srt, vtt = (directory / SRT_FILE).read_text(), (directory / VTT_FILE).read_text()
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\n", srt)
    assert vtt.startswith("WEBVTT\n\n00:00:0")
    spoken = " ".join(re.sub(r"^\d+$|^.* --> .*$", "", srt, flags=re.MULTILINE).split())
    assert word_error_rate(KENNEDY.text, spoken) <= HIGHEST_WORD_ERROR_RATE


def test_every_phase_leaves_its_line_with_counters(first_run):
    done = first_run.done
    assert done.exit_code == ExitCode.DONE, done.log
    shared = [record.phase for record in done.phases if record.asset_id is None]
    assert shared == [Phase.CONTAINER_START, Phase.IMPORT, Phase.MODEL_LOAD]
    own = {record.phase: record for record in done.phases if record.asset_id == first_run.spoken}
    assert set(own) - {Phase.LANGUAGE_DETECTION} == {Phase.DECODE, Phase.VAD, Phase.TRANSCRIPTION, Phase.WRITE}
    assert own[Phase.DECODE].counters["audio_s"] == pytest.approx(11.0, abs=0.1)
    assert 8.0 < own[Phase.VAD].counters["speech_s"] <= 11.1
    assert own[Phase.TRANSCRIPTION].counters["words"] == pytest.approx(22, abs=3)
    assert own[Phase.TRANSCRIPTION].counters["tokens"] >= 22
    assert own[Phase.WRITE].counters["cues"] >= 2


def test_the_language_is_detected_exactly_when_the_model_knows_several(first_run):
    detected = [record.asset_id for record in first_run.done.phases if record.phase is Phase.LANGUAGE_DETECTION]
    heard = transcript(first_run.done, first_run.spoken)
    assert detected == ([] if english_only() else [first_run.spoken, first_run.apart])
    assert (heard.language_probability is None) == english_only()


def test_a_second_run_reuses_the_results_and_loads_no_model(sounds, first_run):
    again = sounds.bench.run(first_run.done.request)
    assert again.exit_code == ExitCode.DONE
    assert {item.outcome for item in again.outcome.items} == {ItemOutcome.REUSED}
    assert [record.phase for record in again.phases] == [Phase.CONTAINER_START]


def test_a_language_that_the_model_does_not_know_is_refused_with_a_remedy(sounds, first_run):
    done = sounds.bench.run(sounds.request(first_run.spoken, language="tlh"))
    assert done.exit_code == ExitCode.ALL_REJECTED
    rejection = done.result(first_run.spoken).rejection
    assert rejection is not None
    assert rejection.reason is Reason.UNSUPPORTED
    assert "'tlh'" in rejection.message
    assert "ask for another language" in rejection.message


def test_without_a_gpu_the_cuda_variant_fails_and_does_not_fall_back(sounds, first_run):
    done = sounds.bench.run(sounds.request(first_run.spoken, variant=Variant.CUDA, compute_type="float16"))
    assert done.exit_code == ExitCode.DEVICE_FAILED
    assert "needs a GPU" in done.outcome.message
    assert "cpu variant" in done.outcome.message
    assert {item.outcome for item in done.outcome.items} == {ItemOutcome.LEFT}


def test_a_compute_type_that_the_cpu_lacks_is_refused_by_name(sounds, first_run):
    done = sounds.bench.run(sounds.request(first_run.spoken, compute_type="float16"))
    assert done.exit_code == ExitCode.DEVICE_FAILED
    assert "float32, int8, int8_float32" in done.outcome.message


def test_out_of_memory_whisper_is_loaded_again_in_the_smaller_type(sounds, first_run):
    asked = sounds.request(first_run.spoken, compute_type="float32")
    in_int8 = first_run.done.item(first_run.spoken).fingerprint
    items = tuple(item.model_copy(update={"smaller_fingerprint": in_int8}) for item in asked.items)
    asked = asked.model_copy(update={"batch_size": 1, "smaller_compute_type": "int8", "items": items})
    shutil.rmtree(first_run.done.directory(first_run.spoken))
    done = sounds.bench.run(asked, program=TESTS / "short_of_memory.py")
    assert done.exit_code == ExitCode.DONE, done.log
    assert "out of memory in float32, went on in int8" in done.outcome.message
    assert done.outcome.items[0].fingerprint == in_int8
    assert first_run.done.result(first_run.spoken).compute_type == "int8"
    heard = transcript(first_run.done, first_run.spoken)
    assert word_error_rate(KENNEDY.text, text_of(heard)) <= HIGHEST_WORD_ERROR_RATE
    loads = [record.outcome for record in done.phases if record.phase is Phase.MODEL_LOAD]
    assert loads == [PhaseOutcome.DONE, PhaseOutcome.DONE]
