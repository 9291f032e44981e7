"""Batches of windows in int8 against plain float32 faster-whisper, on real speech, in the same image."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from console.demo import word_error_rate
from console.demo_media import KENNEDY, RECORDINGS, choose_narration
from stage_contract.outputs import Transcript, Word
from stage_contract.vocabulary import ExitCode, Phase
from tests.images.audio.agreement import MOST_WORD_ERRORS_MORE, PlainTranscript, compare
from tests.images.audio.sounds import Sounds, transcript
from tests.stage_container import Finished, StageBench

SHORT_TIMES = 9
WINDOW_S = 30.0


@dataclass(frozen=True)
class Comparison:
    """One recording, heard by both."""

    text: str
    done: Finished
    ours: Transcript
    plain: PlainTranscript

    @property
    def words(self) -> list[Word]:
        return [word for segment in self.ours.segments for word in segment.words]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Comparison:
    """The long narration where it is at hand, else the short one over and over."""
    narration = choose_narration()
    long = narration is not KENNEDY
    sounds = Sounds(
        StageBench(tmp_path_factory.mktemp("narrated")), RECORDINGS / narration.audio_name if long else speech
    )
    times = 1 if long else SHORT_TIMES
    asset_id = sounds.add("narrated", *["file:/speech", "silence:1"] * times)
    done = sounds.bench.run(sounds.request(asset_id))
    assert done.exit_code == ExitCode.DONE, done.log
    return Comparison(" ".join([narration.text] * times), done, transcript(done, asset_id), sounds.plainly(asset_id))


def text_of(words: list[Word]) -> str:
    return " ".join(word.text.strip() for word in words)


def as_right_as_plainly(comparison: Comparison, words: list[Word]) -> bool:
    plain = word_error_rate(comparison.text, comparison.plain.text)
    return word_error_rate(comparison.text, text_of(words)) <= plain + MOST_WORD_ERRORS_MORE


def later(word: Word, seconds: float) -> Word:
    return word.model_copy(update={"start_s": word.start_s + seconds, "end_s": word.end_s + seconds})


def test_words_are_as_right_as_plain_whispers(comparison):
    assert as_right_as_plainly(comparison, comparison.words)


def test_words_have_the_times_that_plain_whisper_gives_them(comparison):
    agreement = compare(comparison.plain.words, comparison.words)
    assert agreement.holds, agreement


def test_several_windows_went_in_one_batch(comparison):
    counters = next(r.counters for r in comparison.done.phases if r.phase is Phase.TRANSCRIPTION)
    assert counters["windows"] > 2
    assert counters["windows_again"] <= counters["windows"] / 2


def test_a_window_that_is_half_a_second_off_is_noticed(comparison):
    words = [later(word, 0.5) if word.start_s < WINDOW_S else word for word in comparison.words]
    assert not compare(comparison.plain.words, words).holds


def test_windows_in_the_wrong_order_are_noticed(comparison):
    first = [word for word in comparison.words if word.end_s < WINDOW_S]
    second = [word for word in comparison.words if WINDOW_S <= word.start_s < 2 * WINDOW_S]
    rest = [word for word in comparison.words if word.start_s >= 2 * WINDOW_S]
    swapped = [*(later(w, -WINDOW_S) for w in second), *(later(w, WINDOW_S) for w in first), *rest]
    assert not compare(comparison.plain.words, swapped).holds


def test_a_window_that_is_lost_is_noticed(comparison):
    words = [word for word in comparison.words if word.start_s >= WINDOW_S]
    assert not as_right_as_plainly(comparison, words)


def test_a_sentence_that_is_written_twice_is_noticed(comparison):
    assert not as_right_as_plainly(comparison, [*comparison.words[:20], *comparison.words])
