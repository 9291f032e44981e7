"""Both stages over the whole corpus, in the real image, one container a stage, under all restrictions."""

import json

import pytest

from media_stage.flac import count_samples
from stage_contract.outputs import AUDIO_FILE, EXTRACT_FILE, PROBE_FILE, ExtractOutput, ProbeOutput
from stage_contract.result import ItemResult
from stage_contract.vocabulary import ExitCode, ItemOutcome, Phase, PhaseOutcome
from tests.corpus.cases import CORPUS, MARKER, MARKER_PATH, CorpusCase, Fate
from tests.images.media.results import by_path
from tests.stage_container import Finished

PROBED = [case for case in CORPUS if case.probe]
EXTRACTED = [case for case in CORPUS if case.extract]
PLAYLISTS = [case.path for case in CORPUS if case.path.startswith("playlists/") and case.path != MARKER_PATH]


def case_name(case: CorpusCase) -> str:
    return case.why.replace(" ", "_")


def fate(result: ItemResult | None) -> Fate:
    assert result is not None, "there is no complete result"
    return Fate(result.status, result.rejection.reason if result.rejection else None)


def probe_of(done: Finished, path: str) -> ProbeOutput:
    return done.output(path, PROBE_FILE, ProbeOutput)


def extract_of(done: Finished, path: str) -> ExtractOutput:
    return done.output(path, EXTRACT_FILE, ExtractOutput)


@pytest.mark.parametrize("case", PROBED, ids=case_name)
def test_probe_gives_every_file_its_fate(case: CorpusCase, probed: Finished) -> None:
    assert fate(by_path(probed)[case.path]) == case.probe


@pytest.mark.parametrize("case", EXTRACTED, ids=case_name)
def test_extract_gives_every_file_its_fate(case: CorpusCase, extracted: Finished) -> None:
    assert fate(by_path(extracted)[case.path]) == case.extract


def test_bad_files_do_not_fail_the_container(probed: Finished, extracted: Finished) -> None:
    for shard in (probed, extracted):
        assert shard.outcome.exit_code == ExitCode.DONE
        assert {item.outcome for item in shard.outcome.items} == {ItemOutcome.DONE, ItemOutcome.REJECTED}


def test_every_rejection_gives_a_rule_and_a_remedy(probed: Finished, extracted: Finished) -> None:
    for result in (*by_path(probed).values(), *by_path(extracted).values()):
        if result and result.rejection:
            message = result.rejection.message
            assert ":" in message
            assert message.isprintable()
            assert 40 < len(message) < 500


def test_a_rejected_item_keeps_no_file_but_its_result(probed: Finished, extracted: Finished) -> None:
    for shard in (probed, extracted):
        for path, result in by_path(shard).items():
            if result and result.rejection:
                assert [file.name for file in shard.directory(path).iterdir()] == ["result.json"]


@pytest.mark.parametrize("path", PLAYLISTS)
def test_nothing_of_what_a_playlist_points_to_gets_out(path: str, probed: Finished) -> None:
    written = b"".join(file.read_bytes() for file in probed.directory(path).iterdir())
    report = next(item for item in probed.outcome.items if item.asset_id == json.loads(written)["asset_id"])
    for told in (written.decode(), report.message):
        assert MARKER not in told
        assert "root:" not in told
    assert MARKER not in probed.log


def test_a_picture_and_a_sound_track_are_described(probed: Finished) -> None:
    output = probe_of(probed, "good/speech.mp4")
    assert output.container.startswith("mov")
    assert 4 < output.duration_s < 6
    (video,), (audio,) = output.video, output.audio
    assert (video.codec, video.width_px, video.height_px, video.bit_depth) == ("h264", 320, 240, 8)
    assert (video.frame_rate_hz, video.variable_frame_rate, video.rotation_deg) == (25.0, False, 0)
    assert (audio.codec, audio.channels) == ("aac", 1)


def test_the_content_hash_is_the_assets_id(probed: Finished) -> None:
    for path, result in by_path(probed).items():
        if result and not result.rejection:
            assert probe_of(probed, path).sha256 == result.asset_id


def test_only_the_uneven_clip_has_a_variable_rate(probed: Finished) -> None:
    done = [path for path, result in by_path(probed).items() if result and not result.rejection]
    uneven = [path for path in done if any(video.variable_frame_rate for video in probe_of(probed, path).video)]
    assert uneven == ["good/variable_rate.mp4"]


def test_a_turned_picture_is_described_as_shown(probed: Finished) -> None:
    (video,) = probe_of(probed, "good/rotated.mp4").video
    assert (video.width_px, video.height_px, video.rotation_deg) == (240, 320, 270)


def test_ten_bit_pictures_are_told_apart(probed: Finished) -> None:
    assert probe_of(probed, "good/ten_bit.mkv").video[0].bit_depth == 10


def test_the_main_one_of_two_pictures_comes_first(probed: Finished) -> None:
    videos = probe_of(probed, "good/two_pictures.mp4").video
    assert [(video.index, video.width_px) for video in videos] == [(1, 320), (0, 160)]


def test_languages_and_subtitles_are_listed(probed: Finished) -> None:
    output = probe_of(probed, "good/late_sound.mkv")
    assert [audio.language for audio in output.audio] == ["fra", "eng"]
    assert output.subtitle_streams == 1


def test_tags_are_kept(probed: Finished) -> None:
    assert probe_of(probed, "good/tone.mp3").tags["title"] == "A tone"


def test_a_live_recording_is_read_through_to_know_its_duration(probed: Finished) -> None:
    assert probe_of(probed, "good/live.mkv").duration_s == pytest.approx(3.0, abs=0.1)


def test_sound_is_as_long_as_it_says(extracted: Finished) -> None:
    for path, result in by_path(extracted).items():
        if result and not result.rejection:
            output = extract_of(extracted, path)
            assert count_samples(extracted.directory(path) / AUDIO_FILE) == round(output.duration_s * 16_000)


def test_sound_that_starts_late_keeps_its_place(extracted: Finished) -> None:
    assert extract_of(extracted, "good/late_sound.mkv").duration_s == pytest.approx(3.0, abs=0.05)


def test_half_a_file_gives_half_its_sound(extracted: Finished) -> None:
    assert 1.2 < extract_of(extracted, "bad/half.mkv").duration_s < 1.8


def test_the_main_sound_track_is_taken(probed: Finished, extracted: Finished) -> None:
    main = probe_of(probed, "good/late_sound.mkv").audio[0]
    assert extract_of(extracted, "good/late_sound.mkv").stream_index == main.index


def test_a_tone_has_its_known_loudness(extracted: Finished) -> None:
    # ffmpeg's sine is 1/8 of full scale, -18.06 dBFS at its peak and 3.01 dB less in mean square. BS.1770 takes
    # another 0.69, and its K filter next to nothing at 300 Hz.
    output = extract_of(extracted, "good/late_sound.mkv")
    assert output.true_peak_dbtp == pytest.approx(-18.06, abs=0.1)
    assert output.integrated_lufs == pytest.approx(-21.8, abs=0.2)


def test_silence_has_sound_and_no_loudness(extracted: Finished) -> None:
    output = extract_of(extracted, "good/silence.wav")
    assert output.duration_s == 2.0
    assert (output.integrated_lufs, output.loudness_range_lu, output.true_peak_dbtp) == (None, None, None)


def test_speech_has_a_loudness_range_and_a_short_tone_has_none(extracted: Finished) -> None:
    assert extract_of(extracted, "good/speech.mp4").loudness_range_lu is not None
    assert extract_of(extracted, "good/tone.mp3").loudness_range_lu is None


def test_every_item_is_timed_whatever_its_fate(probed: Finished, extracted: Finished) -> None:
    for shard, phase, counter in ((probed, Phase.PROBE, "media_s"), (extracted, Phase.EXTRACT, "audio_s")):
        records = {record.asset_id: record for record in shard.phases if record.phase is phase}
        for result in by_path(shard).values():
            assert result is not None
            record = records[result.asset_id]
            assert record.outcome is (PhaseOutcome.FAILED if result.rejection else PhaseOutcome.DONE)
            assert (counter in record.counters) is not bool(result.rejection)
