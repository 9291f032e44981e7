"""The settings of nights: what `make up` takes, nights can work with."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.archives import more_archives
from console.setting_rules import check_night
from console.terminal import ConsoleError
from operators.backfill.night_settings import NightSettings
from operators.backfill.scope import Order

WELL = {
    "NIGHTREEL_NIGHT_DAYS": "mon-sun",
    "NIGHTREEL_NIGHT_HOURS": "22:00-06:00",
    "NIGHTREEL_TIME_ZONE": "Europe/Berlin",
    "NIGHTREEL_NIGHT_ORDER": "newest",
    "NIGHTREEL_NIGHT_FOLDERS": "",
    "NIGHTREEL_NIGHT_FIRST": "",
    "NIGHTREEL_RENEW": "0",
    "NIGHTREEL_SHARD_MINUTES": "20",
    "NIGHTREEL_MORE_ARCHIVES": "tapes=/mnt/tapes,news=/srv/news",
}
DAYS = st.sampled_from(["mon", "wed", "sun", "Mon", "montag", "", " sat"])
TIMES = st.sampled_from(["22:00", "6:30", "00:00", "24:00", "6:60", "6", ""])
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "NIGHTREEL_NIGHT_DAYS": st.lists(
            st.one_of(DAYS, st.tuples(DAYS, DAYS).map("-".join)), min_size=1, max_size=3
        ).map(",".join),
        "NIGHTREEL_NIGHT_HOURS": st.tuples(TIMES, TIMES).map("-".join),
        "NIGHTREEL_TIME_ZONE": st.sampled_from(["UTC", "Europe/Berlin", "Europe", "Europe/Bonn", " UTC", "../x"]),
        "NIGHTREEL_NIGHT_ORDER": st.sampled_from([*Order, "Newest", "random"]),
        "NIGHTREEL_SHARD_MINUTES": st.sampled_from(["20", "0.5", "0", "-1", "1e3", "inf", "nan", "ten"]),
    },
)


def check(**given: str) -> None:
    values = {**WELL, **given}
    check_night(values, ["archive", *more_archives(values)])


@given(GIVEN)
def test_what_nights_would_refuse_is_refused_before(given: dict[str, str]) -> None:
    try:
        check(**given)
    except ConsoleError:
        return
    NightSettings.from_environment({**WELL, **given})


@pytest.mark.parametrize("days", ["", "mon-sun", "fri-mon", "mon-wed,sun"])
@pytest.mark.parametrize("hours", ["22:00-06:00", "0:30-0:30", "9:15-17:45"])
@pytest.mark.parametrize("order", list(Order))
def test_what_nights_can_work_with_is_taken(days: str, hours: str, order: Order) -> None:
    given = {"NIGHTREEL_NIGHT_DAYS": days, "NIGHTREEL_NIGHT_HOURS": hours, "NIGHTREEL_NIGHT_ORDER": order.value}
    check(**given)
    assert (NightSettings.from_environment({**WELL, **given}).hours is None) == (days == "")


@pytest.mark.parametrize(
    ("folders", "first"),
    [
        ("", "tapes/2024"),
        ("", "archive"),
        ("archive", "archive/news"),
        ("archive/2024,tapes", "archive/2024/"),
        ("archive/2024/,tapes", "archive"),
        ("inbox", "inbox/today"),
    ],
)
def test_folders_of_nights_may_be_all_that_there_are(folders: str, first: str) -> None:
    given = {"NIGHTREEL_NIGHT_FOLDERS": folders, "NIGHTREEL_NIGHT_FIRST": first}
    check(**given)
    scope = NightSettings.from_environment({**WELL, **given}).scope
    assert scope.folders == (tuple(folders.split(",")) if folders else ("archive", "tapes", "news"))
    assert scope.first_folder == first


@pytest.mark.parametrize(
    ("folders", "first"),
    [
        ("", "inbox"),
        ("archive", "tapes"),
        ("archive/2024", "archive/20240"),
        ("archive/2024,tapes", "archive/2023"),
    ],
)
def test_a_first_folder_that_no_night_comes_to_is_refused(folders: str, first: str) -> None:
    about = folders.replace(",", ", ") or "archive, tapes, news"
    told = re.escape(f"{about}: {first!r} does not, and no night would come to it; change it in .env, or add it to")
    with pytest.raises(ConsoleError, match=f"NIGHTREEL_NIGHT_FIRST must lie in what nights are about, {told}"):
        check(NIGHTREEL_NIGHT_FOLDERS=folders, NIGHTREEL_NIGHT_FIRST=first)


@pytest.mark.parametrize("name", ["NIGHTREEL_NIGHT_FOLDERS", "NIGHTREEL_NIGHT_FIRST"])
@pytest.mark.parametrize("folder", ["tape/2024", "archive/..", "archive/./2024"])
def test_a_folder_that_lies_in_no_root_is_refused(name: str, folder: str) -> None:
    told = re.escape(f"{name} must lie in one of archive, tapes, news, inbox, without . and ..: {folder!r} does not")
    with pytest.raises(ConsoleError, match=told):
        check(**{name: folder})
