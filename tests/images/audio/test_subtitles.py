import html
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_stage.subtitles import (
    MAX_CUE_MS,
    MAX_LINE_CHARACTERS,
    MAX_LINES,
    MIN_CUE_MS,
    PAUSE_MS,
    Cue,
    format_srt,
    format_vtt,
    make_cues,
    wrap,
)
from stage_contract.outputs import Segment, Word

TIME_LINE = re.compile(r"(\d{2,}):(\d{2}):(\d{2})[.,](\d{3}) --> (\d{2,}):(\d{2}):(\d{2})[.,](\d{3})")

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
word_specs = st.tuples(st.floats(0, 3), st.floats(0, 3), texts)


def segment(*words, index=0):
    return Segment(
        index=index,
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        text="".join(word.text for word in words).strip(),
        mean_log_probability=-0.2,
        no_speech_probability=0.01,
        words=words,
    )


def word(start_s, end_s, text):
    return Word(start_s=start_s, end_s=end_s, text=text, probability=0.9)


def spoken(text, start_s=0.0, word_s=0.4):
    """A segment in which each word takes `word_s`."""
    return segment(
        *(word(start_s + i * word_s, start_s + (i + 1) * word_s, f" {w}") for i, w in enumerate(text.split()))
    )


@st.composite
def segment_lists(draw):
    segments: list[Segment] = []
    time_s = draw(st.floats(0, 100_000))
    for specs in draw(st.lists(st.lists(word_specs, min_size=1, max_size=12), max_size=6)):
        words = []
        for gap_s, length_s, text in specs:
            words.append(word(time_s + gap_s, time_s + gap_s + length_s, f" {text}"))
            time_s = words[-1].end_s
        segments.append(segment(*words, index=len(segments)))
    return segments


def parsed_times(text):
    for match in TIME_LINE.finditer(text):
        h1, m1, s1, ms1, h2, m2, s2, ms2 = map(int, match.groups())
        yield ((h1 * 60 + m1) * 60 + s1) * 1000 + ms1, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2


@given(segment_lists())
def test_cues_follow_each_other_and_never_overlap(segments):
    cues = make_cues(segments)
    assert all(cue.start_ms < cue.end_ms for cue in cues)
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(cues))


@given(segment_lists())
def test_no_cue_has_more_than_two_lines_or_a_longer_line(segments):
    for cue in make_cues(segments):
        assert 1 <= len(cue.lines) <= MAX_LINES
        assert all(0 < len(line) <= MAX_LINE_CHARACTERS for line in cue.lines)


@given(segment_lists())
def test_a_cue_stays_a_second_unless_the_next_one_begins(segments):
    cues = make_cues(segments)
    for cue, following in pairwise(cues):
        assert cue.end_ms - cue.start_ms >= MIN_CUE_MS or cue.end_ms == following.start_ms
    assert all(cue.end_ms - cue.start_ms >= MIN_CUE_MS for cue in cues[-1:])


@given(segment_lists())
def test_every_character_spoken_is_shown_once_and_in_order(segments):
    control = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])
    said = "".join("".join(s.text.translate(control).split()) for s in segments)
    shown = "".join("".join("".join(cue.lines).split()) for cue in make_cues(segments))
    assert shown == said


@pytest.mark.parametrize("form", [format_srt, format_vtt])
@given(segments=segment_lists())
def test_times_survive_the_text_form_to_the_millisecond(form, segments):
    cues = make_cues(segments)
    assert list(parsed_times(form(cues))) == [(cue.start_ms, cue.end_ms) for cue in cues]


@given(segment_lists())
def test_webvtt_text_is_escaped_and_comes_back(segments):
    cues = make_cues(segments)
    header, *blocks = format_vtt(cues).removesuffix("\n").split("\n\n")
    assert header == "WEBVTT"
    assert len(blocks) == len(cues)
    for block, cue in zip(blocks, cues, strict=True):
        _, *lines = block.split("\n")
        assert not any("<" in line or ">" in line for line in lines)
        assert tuple(html.unescape(line) for line in lines) == cue.lines


def test_a_sentence_ends_a_cue_that_was_there_for_a_second():
    cues = make_cues([spoken("This is one sentence. This is the next.")])
    assert [cue.lines for cue in cues] == [("This is one sentence.",), ("This is the next.",)]


def test_a_very_short_sentence_shares_its_cue_with_the_next():
    assert [cue.lines for cue in make_cues([spoken("Yes. I do think so.")])] == [("Yes. I do think so.",)]


def test_a_pause_ends_a_cue_and_leaves_the_screen_empty():
    pause_s = PAUSE_MS / 1000 + 2.0
    first, second = make_cues([spoken("and then", 0.0), spoken("it came", 0.8 + pause_s)])
    assert first == Cue(0, MIN_CUE_MS, ("and then",))
    assert second.start_ms == 3_800


def test_slow_speech_changes_cues_after_seven_seconds():
    cues = make_cues([spoken("one two three four five six seven eight nine ten", word_s=1.5)])
    assert all(cue.end_ms - cue.start_ms <= MAX_CUE_MS for cue in cues)
    assert len(cues) == 3


def test_lines_are_about_equally_long():
    text = "we choose to go to the moon in this decade and do the other things"
    assert wrap([f" {w}" for w in text.split()]) == (
        "we choose to go to the moon in",
        "this decade and do the other things",
    )


def test_a_segment_without_word_times_spreads_its_text_over_its_time():
    text = " ".join(f"word{i}" for i in range(40))
    bare = Segment(index=0, start_s=0, end_s=20, text=text, mean_log_probability=0, no_speech_probability=0)
    cues = make_cues([bare])
    assert len(cues) > 1
    assert cues[-1].end_ms == 20_000


def test_hours_go_past_two_digits_and_nothing_makes_an_empty_file():
    late = [Cue(100 * 3_600_000, 100 * 3_600_000 + 1_000, ("late",))]
    assert format_srt(late) == "1\n100:00:00,000 --> 100:00:01,000\nlate\n\n"
    assert format_srt([]) == ""
    assert format_vtt([]) == "WEBVTT\n"


def test_an_arrow_in_srt_text_is_no_time_line():
    assert "a → b" in format_srt([Cue(0, 1000, ("a --> b",))])
