"""What a run's note says when many have something to say. Airflow refuses more than a thousand characters."""

from hypothesis import given
from hypothesis import strategies as st

from operators.notes import LONGEST, MARK, write_run_note

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=700)


def test_lines_of_ours_replace_those_shown_before_and_a_persons_stay():
    first = write_run_note("ask Anna about tape 7", ["audio goes to GPU-1"])
    again = write_run_note(first, ["audio goes to GPU-1", "GPU-1 failed"])
    assert again == f"ask Anna about tape 7\n{MARK}audio goes to GPU-1\n{MARK}GPU-1 failed"


def test_a_reason_of_several_lines_becomes_one_and_is_not_told_twice():
    reason = "mode 'legacy'\nnvidia-container-cli: mismatch"
    note = write_run_note("", [reason])
    assert note == f"{MARK}mode 'legacy' nvidia-container-cli: mismatch"
    assert write_run_note(note, [reason]) == note


def test_a_short_line_leaves_its_room_to_the_long_ones():
    note = write_run_note("", ["x" * 900, "short"])
    assert note.splitlines() == [f"{MARK}{'x' * 900}", f"{MARK}short"]


def test_the_latest_is_told_when_there_is_no_room_for_all():
    note = write_run_note("p" * 900, ["first " * 50, "second " * 50, "the last one"])
    cut, last = note.splitlines()[1:]
    assert cut.startswith(f"{MARK}second second")
    assert cut.endswith("…")
    assert last == f"{MARK}the last one"
    assert len(note) <= LONGEST


@given(before=TEXT.filter(lambda text: len(text) <= LONGEST), lines=st.lists(TEXT.filter(str.strip), max_size=8))
def test_a_note_is_never_too_long_and_writing_it_again_changes_nothing(before, lines):
    note = write_run_note(before, lines)
    assert len(note) <= LONGEST
    assert write_run_note(note, lines) == note
