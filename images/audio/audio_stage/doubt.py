"""Which windows to hear again: what Whisper wrote in a batch repeats itself, is improbable, or stops too early.

Pure decisions. The thresholds are Whisper's own (https://github.com/openai/whisper, `transcribe.py`).
"""

import zlib
from collections.abc import Sequence

from audio_stage.sentences import SpokenWord

MAX_COMPRESSION_RATIO = 2.4
MIN_LOG_PROBABILITY = -1.0
MIN_NO_SPEECH_PROBABILITY = 0.6

# Pauses of 2 s and more were cut out. Where nothing was written for longer, there is music, or a sentence was left out.
LONGEST_HOLE_S = 3.0

# Marks that belong to the word after them and to the word before, as in openai/whisper's `timing.py`.
PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.\u3002,\uff0c!\uff01?\uff1f:\uff1a”)]}\u3001"

# As in faster-whisper's `is_segment_anomaly`: the first words of a segment, each with a penalty for being improbable,
# too short or too long.
LOOKED_AT_WORDS = 8
IMPROBABLE_WORD = 0.15
SHORT_WORD_S, SHORT_WORD_PENALTY_PER_S = 0.133, 15.0
LONG_WORD_S = 2.0
MOST_PENALTY = 3.0
PUNCTUATION = PREPENDED + APPENDED
SILENCE_S = 2.0


def is_silence(mean_log_probability: float, no_speech_probability: float) -> bool:
    """Whether improbable text stands where no speech is likely. It is dropped."""
    return no_speech_probability > MIN_NO_SPEECH_PROBABILITY and mean_log_probability <= MIN_LOG_PROBABILITY


def is_doubtful(text: str, mean_log_probability: float, hole_s: float) -> bool:
    """Whether a window must be heard again, for its text or for the longest time without a word."""
    return (
        mean_log_probability < MIN_LOG_PROBABILITY
        or compression_ratio(text) > MAX_COMPRESSION_RATIO
        or hole_s > LONGEST_HOLE_S
    )


def compression_ratio(text: str) -> float:
    """Bytes of the text for each byte of it compressed: high where it repeats itself."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))


def longest_hole_s(words: Sequence[SpokenWord], window_s: float) -> float:
    """The longest time without a word in a window, its beginning and its end included."""
    starts_s = [*(word.start_s for word in words), window_s]
    ends_s = [0.0, *(word.end_s for word in words)]
    return max(start_s - end_s for start_s, end_s in zip(starts_s, ends_s, strict=True))


def stands_alone_oddly(segments: Sequence[Sequence[SpokenWord]], window_s: float) -> bool:
    """Whether a segment of odd words has silence, the window's edge or another odd one on both sides.

    That is how faster-whisper finds what was invented. `segments` are those of one window, in order.
    """
    spoken = [words for words in segments if words]
    odd = [_is_odd(words) for words in spoken]
    for index, words in enumerate(spoken):
        before_s = spoken[index - 1][-1].end_s if index else 0.0
        last = index + 1 == len(spoken)
        after_s = window_s if last else spoken[index + 1][0].start_s
        silence_before = words[0].start_s - before_s > SILENCE_S or words[0].start_s < SILENCE_S
        silence_after = after_s - words[-1].end_s > SILENCE_S or last or odd[index + 1]
        if odd[index] and silence_before and silence_after:
            return True
    return False


def _is_odd(words: Sequence[SpokenWord]) -> bool:
    looked_at = [word for word in words if word.text not in PUNCTUATION][:LOOKED_AT_WORDS]
    penalty = sum(map(_penalty, looked_at))
    return penalty >= MOST_PENALTY or penalty + 0.01 >= len(looked_at)


def _penalty(word: SpokenWord) -> float:
    duration_s = word.end_s - word.start_s
    return (
        (1.0 if word.probability < IMPROBABLE_WORD else 0.0)
        + max(0.0, SHORT_WORD_S - duration_s) * SHORT_WORD_PENALTY_PER_S
        + max(0.0, duration_s - LONG_WORD_S)
    )
