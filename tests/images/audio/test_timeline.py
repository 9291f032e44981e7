from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from audio_stage.timeline import SAMPLE_RATE_HZ, JoinedTimeline, SampleInterval, bridge, even_batches, group, settle

lengths = st.integers(min_value=1, max_value=400_000)
gaps = st.integers(min_value=0, max_value=400_000)


@st.composite
def interval_lists(draw, min_size=0):
    intervals, position = [], 0
    for gap, length in draw(st.lists(st.tuples(gaps, lengths), min_size=min_size, max_size=20)):
        intervals.append(SampleInterval(position + gap, position + gap + length))
        position = intervals[-1].end
    return intervals


def samples_of(intervals):
    return [sample for interval in intervals for sample in (interval.start, interval.end)]


@given(interval_lists(), gaps, lengths)
def test_short_pauses_are_bridged_as_far_as_a_window_reaches(intervals, longest_pause, max_length):
    joined = bridge(intervals, longest_pause, max_length)
    assert set(samples_of(joined)) <= set(samples_of(intervals)), "cut only where a pause was found"
    assert all(one.length <= max_length or one in intervals for one in joined)
    for before, after in pairwise(joined):
        first = next(one for one in intervals if one.start == after.start)
        assert after.start - before.end >= longest_pause or first.end - before.start > max_length, "cut too early"
    for interval in intervals:
        assert any(one.start <= interval.start and interval.end <= one.end for one in joined), "speech was lost"


def test_speech_that_reaches_the_border_waits_for_the_next_window():
    found = [SampleInterval(10, 400), SampleInterval(600, 1000)]
    settled = settle(found, window_length=1000, margin=50, last=False)
    assert settled.ready == (SampleInterval(10, 400),)
    assert settled.keep_from == 600


def test_silence_at_the_border_leaves_a_margin_for_speech_that_begins_on_it():
    settled = settle([SampleInterval(10, 400)], window_length=1000, margin=50, last=False)
    assert settled.ready == (SampleInterval(10, 400),)
    assert settled.keep_from == 950


def test_the_last_window_keeps_nothing_back():
    found = [SampleInterval(600, 1000)]
    assert settle(found, window_length=1000, margin=50, last=True).ready == tuple(found)


@given(interval_lists(), st.integers(min_value=0, max_value=400_000), st.booleans())
def test_speech_is_either_ready_or_kept_whole(found, silence_after, last):
    length = (found[-1].end if found else 0) + silence_after
    settled = settle(found, length, margin=16_000, last=last)
    kept = [interval for interval in found if interval not in settled.ready]
    assert all(interval.start >= settled.keep_from for interval in kept)
    assert all(
        interval.end <= settled.keep_from or interval.end <= length - 16_000 or last for interval in settled.ready
    )


@given(interval_lists(), st.integers(min_value=1, max_value=1_000_000))
def test_groups_hold_all_speech_in_order_and_within_the_limit(intervals, limit):
    groups = group(intervals, limit)
    members = [interval for one in groups for interval in one]
    assert sum(m.length for m in members) == sum(i.length for i in intervals)
    assert samples_of(members) == sorted(samples_of(members))
    for one in groups:
        assert sum(m.length for m in one) <= limit or len(one) == 1


def test_speech_that_was_cut_without_a_pause_becomes_one_interval_again():
    assert group([SampleInterval(0, 50), SampleInterval(50, 90)], 100) == [(SampleInterval(0, 90),)]


@given(interval_lists(min_size=1), st.data())
def test_a_moment_of_joined_speech_leads_back_to_its_sample(intervals, data):
    timeline = JoinedTimeline(intervals)
    index = data.draw(st.integers(0, len(intervals) - 1))
    offset = data.draw(st.integers(0, intervals[index].length - 1))
    joined = sum(interval.length for interval in intervals[:index]) + offset
    placed = timeline.place(joined / SAMPLE_RATE_HZ, joined / SAMPLE_RATE_HZ)
    assert placed.interval_index == index
    assert round(placed.start_s * SAMPLE_RATE_HZ) == intervals[index].start + offset


@given(interval_lists(min_size=1), st.floats(0, 600), st.floats(0, 60))
def test_a_span_stays_within_one_interval_whatever_the_model_says(intervals, start_s, length_s):
    placed = JoinedTimeline(intervals).place(start_s, start_s + length_s)
    interval = intervals[placed.interval_index]
    start, end = round(placed.start_s * SAMPLE_RATE_HZ), round(placed.end_s * SAMPLE_RATE_HZ)
    assert interval.start <= start <= end <= interval.end


@given(st.lists(st.integers(), max_size=60), st.integers(min_value=1, max_value=20))
def test_batches_hold_all_members_in_order_and_are_as_even_as_can_be(members, max_size):
    batches = list(even_batches(members, max_size))
    assert [member for batch in batches for member in batch] == members
    sizes = [len(batch) for batch in batches]
    assert max(sizes, default=0) <= max_size
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(sizes) == -(-len(members) // max_size)
