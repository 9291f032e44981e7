"""`vision_stage.groups`: which packets are decoded."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from vision_stage.groups import MOST_GROUP_PACKETS, Group, PacketFacts, extent, grouped, times_of

SHORT = 500
Packet = tuple[str, PacketFacts]


def packet(time: int | None, *, is_key: bool = False, size_bytes: int = 100) -> Packet:
    return f"at {time}", PacketFacts(time, is_key, is_shown=True, size_bytes=size_bytes)


def group(*times: int, wanted: tuple[int, ...] = ()) -> Group[str]:
    """A group in the order of decoding, its key frame first."""
    packets = [packet(time, is_key=number == 0) for number, time in enumerate(times)]
    return Group(packets, tuple(sorted(times)), wanted, is_whole=True)


def decoded(one: Group[str], following: Group[str] | None, compared: int | None = 0) -> Sequence[int | None]:
    """The times of the packets that are given to the decoder."""
    return [facts.time for _, facts in one.packets[: extent(one, following, compared, SHORT).packets]]


SHORT_GROUP = (1000, 1120, 1040, 1080, 1240, 1160, 1200)
NEXT_GROUP = (1280, 1400, 1320, 1360)


def test_of_a_short_group_only_the_key_frame_is_decoded() -> None:
    assert decoded(group(*SHORT_GROUP), group(*NEXT_GROUP), compared=700) == [1000]


def test_of_a_short_group_nothing_is_decoded_while_the_last_comparison_is_near() -> None:
    assert decoded(group(*SHORT_GROUP), group(*NEXT_GROUP), compared=900) == []


def test_a_sample_in_a_short_group_is_decoded_with_what_comes_before_it() -> None:
    assert decoded(group(*SHORT_GROUP, wanted=(1040,)), group(*NEXT_GROUP), compared=900) == [1000, 1120, 1040]


def test_a_long_group_is_decoded_to_its_end_but_for_what_no_frame_refers_to() -> None:
    long = group(*range(0, 2000, 40))
    found = extent(long, group(2000, 2040), 0, SHORT)
    assert (found.packets, found.all_frames) == (50, False)


def test_a_sample_that_leads_the_next_key_frame_needs_this_group_whole() -> None:
    leading = (1400, 1280, 1320, 1360, 1440)
    assert decoded(group(*SHORT_GROUP), group(*leading), compared=900) == []
    assert decoded(group(*SHORT_GROUP), group(*leading, wanted=(1320,)), compared=900) == list(SHORT_GROUP)


def test_the_last_group_is_decoded_to_the_last_frame_shown() -> None:
    found = extent(group(*SHORT_GROUP), None, 900, SHORT)
    assert (found.packets, found.all_frames, found.times) == (len(SHORT_GROUP), False, (1240,))


def test_a_disorderly_group_and_the_one_before_it_are_decoded_whole() -> None:
    orderly, disorderly = group(*SHORT_GROUP), replace(group(*NEXT_GROUP), is_whole=False)
    assert extent(orderly, disorderly, 900, SHORT).all_frames
    assert extent(disorderly, group(2000), 900, SHORT).all_frames


def test_times_that_cannot_be_relied_on_are_none() -> None:
    key = packet(0, is_key=True)
    assert times_of([key, packet(80), packet(40)], None) == (0, 40, 80)
    assert times_of([key, packet(None)], None) is None
    assert times_of([key, packet(40), packet(40)], None) is None
    assert times_of([packet(0), packet(40)], None) is None
    assert times_of([key, packet(40)], after=0) is None


def test_a_frame_that_an_edit_cuts_out_is_not_waited_for() -> None:
    hidden = ("hidden", PacketFacts(40, is_key=False, is_shown=False, size_bytes=1))
    assert times_of([packet(0, is_key=True), hidden, packet(80)], None) == (0, 80)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20 * 2**20)), max_size=60))
def test_groups_hold_every_packet_once_and_begin_at_key_frames(made: list[tuple[bool, int]]) -> None:
    packets = [packet(number, is_key=is_key, size_bytes=size) for number, (is_key, size) in enumerate(made)]
    groups = list(grouped(packets))
    assert [one for some in groups for one in some] == packets
    assert not any(facts.is_key for some in groups for _, facts in some[1:])


def test_a_stream_without_key_frames_does_not_pile_up() -> None:
    packets = [packet(number, is_key=number == 0) for number in range(3 * MOST_GROUP_PACKETS)]
    assert max(len(some) for some in grouped(packets)) == MOST_GROUP_PACKETS
