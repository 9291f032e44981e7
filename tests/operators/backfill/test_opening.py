"""What a form asks for, and in which hours that is done."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import MagicMock
from zoneinfo import ZoneInfo

import docker
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.backfill import opening
from operators.backfill.hours import parse_hours
from operators.backfill.opening import Asked, NightClosed, asked_for, stage_builds, window_for
from operators.backfill.scope import BackfillScope
from operators.errors import ChoiceInvalid
from stage_contract.vocabulary import Stage

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS = parse_hours("22:00-06:00", "mon-sun", "Europe/Berlin")
BY_HAND = Asked(BackfillScope(), is_dry=False, keeps_hours=False, until=None)
AT_MIDNIGHT = datetime(2026, 11, 20, 23, 0, tzinfo=UTC)
INSTANTS = st.integers(0, 2 * 366 * 24 * 60).map(lambda minutes: AT_MIDNIGHT + timedelta(minutes=minutes))


def test_a_late_night_counts_from_when_it_should_have_begun_to_its_own_end():
    opens_at, closes_at = window_for(replace(BY_HAND, keeps_hours=True), NIGHTS, BERLIN, AT_MIDNIGHT)
    assert (opens_at, closes_at) == (
        datetime(2026, 11, 20, 21, 0, tzinfo=UTC),
        datetime(2026, 11, 21, 5, 0, tzinfo=UTC),
    )


def test_by_day_a_night_is_closed_and_the_next_is_named():
    with pytest.raises(NightClosed, match=r"the next night opens 2026-11-20 22:00 \(Europe/Berlin\)"):
        window_for(replace(BY_HAND, keeps_hours=True), NIGHTS, BERLIN, datetime(2026, 11, 20, 12, tzinfo=UTC))


def test_by_hand_it_begins_now_and_ends_when_all_is_done():
    assert window_for(BY_HAND, None, BERLIN, AT_MIDNIGHT) == (AT_MIDNIGHT, None)


def test_a_scheduled_run_keeps_to_the_hours_whatever_the_form_says():
    assert asked_for({"in_window": False}, is_scheduled=True).keeps_hours


def test_the_earlier_of_two_ends_counts():
    asked = asked_for({"in_window": True, "until": "03:00"}, is_scheduled=False)
    _, closes_at = window_for(asked, NIGHTS, BERLIN, AT_MIDNIGHT)
    assert closes_at == datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


@given(now=INSTANTS, until=st.times(timezones=st.none()).map(lambda time: time.replace(second=0, microsecond=0)))
def test_until_is_the_next_time_that_clocks_show_it(now, until):
    _, closes_at = window_for(replace(BY_HAND, until=until), None, BERLIN, now)
    # A day with a change of the clock may be an hour longer.
    assert now < closes_at <= now + timedelta(hours=25)


@pytest.mark.parametrize("form", [{"order": "random"}, {"asset_ids": ["x"]}, {"until": "late"}, {"language": "German"}])
def test_a_malformed_form_is_refused_in_words(form):
    with pytest.raises(ChoiceInvalid, match=rf"{next(iter(form))}.* must be"):
        asked_for(form, is_scheduled=False)


@pytest.mark.parametrize("language", [None, "de"])
def test_results_of_the_language_asked_for_are_the_current_ones(monkeypatch, language):
    asked = []

    def find_build(client, stage, variant, parameters):
        asked.append((stage, parameters.get("language")))
        return asked[-1]

    monkeypatch.setattr(opening, "find_build", find_build)
    stage_builds(MagicMock(docker.APIClient), BackfillScope(language=language))
    assert {found for stage, found in asked if stage is Stage.TRANSCRIBE} == {language}
    assert {found for stage, found in asked if stage is not Stage.TRANSCRIBE} == {None}
