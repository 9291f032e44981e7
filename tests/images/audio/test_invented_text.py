"""What is not speech gives no text, alone and around speech."""

import pytest

from console.demo import HIGHEST_WORD_ERROR_RATE, word_error_rate
from console.demo_media import KENNEDY
from stage_contract.vocabulary import ExitCode, Phase
from tests.images.audio.sounds import transcript

SPEECH_S = 11.0
BORDER_S = 1.0
MOST_GROWTH = 1.2


@pytest.fixture(scope="module")
def mixed(sounds):
    """Music and silence, then with two stretches of speech between."""
    music = sounds.add("music", "chords:40", "silence:20", "drums:30", "tone:20", "noise:20", "drums:20")
    between = sounds.add(
        *("between", "chords:20", "silence:10", "file:/speech", "drums:20", "noise:10", "file:/speech", "chords:20")
    )
    done = sounds.bench.run(sounds.request(music, between))
    assert done.exit_code == ExitCode.DONE, done.log
    return transcript(done, music), transcript(done, between)


def test_music_and_silence_give_no_text(mixed):
    music, _ = mixed
    assert music.segments == ()


def test_speech_between_music_is_written_once_and_nothing_else(mixed):
    _, between = mixed
    text = " ".join(segment.text for segment in between.segments)
    assert word_error_rate(f"{KENNEDY.text} {KENNEDY.text}", text) <= HIGHEST_WORD_ERROR_RATE
    spoken = [(start_s - BORDER_S, start_s + SPEECH_S + BORDER_S) for start_s in (30.0, 71.0)]
    words = [word for segment in between.segments for word in segment.words]
    assert all(any(start <= word.start_s and word.end_s <= end for start, end in spoken) for word in words)


def test_a_long_recording_takes_no_more_memory_than_one_of_ten_minutes(sounds):
    five_minutes = ("file:/speech", "silence:279", "drums:10")
    peaks_mib = []
    for name, times in (("ten minutes", 2), ("forty minutes", 8)):
        asset_id = sounds.add(name, *five_minutes * times)
        done = sounds.bench.run(sounds.request(asset_id, beam_size=1))
        heard = transcript(done, asset_id)
        assert len(heard.segments) >= times
        phases = (Phase.DECODE, Phase.VAD, Phase.TRANSCRIPTION)
        peaks_mib.append(max(record.peak_rss_mib for record in done.phases if record.phase in phases))
    short_mib, long_mib = peaks_mib
    assert long_mib <= short_mib * MOST_GROWTH
