"""Which files a scan takes, against a plain reading of the patterns."""

import fnmatch
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import SettingMissing
from operators.scan.rules import ScanRules

PARTS = st.sampled_from(["a", "B", "tmp", "Tapes", "x.mp4", "y.MOV", "é", "[1]", "two words"])
NAMES = st.lists(PARTS, min_size=2, max_size=5).map("/".join)
PATTERNS = st.lists(
    st.one_of(
        st.sampled_from(["*", "*.mp4", "a/*", "*/tmp", "*/TMP/*", "?/*", "[ab]/*", "*/é*", "*/[[]1]"]),
        NAMES,
    ),
    max_size=4,
).map(tuple)


def matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name.lower(), pattern.lower())


@given(name=NAMES, include=PATTERNS.filter(bool), exclude=PATTERNS)
def test_a_file_is_taken_when_it_is_included_and_neither_it_nor_a_folder_of_it_is_excluded(
    name: str, include: tuple[str, ...], exclude: tuple[str, ...]
) -> None:
    above = [name, *(str(folder) for folder in PurePosixPath(name).parents)]
    included = any(matches(name, pattern) for pattern in include)
    excluded = any(matches(part, pattern) for part in above if part != "." for pattern in exclude)

    assert ScanRules(include, exclude).takes(name) == (included and not excluded)


@given(name=NAMES, include=PATTERNS.filter(bool), exclude=PATTERNS)
def test_case_does_not_count(name: str, include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    rules, shouted = ScanRules(include, exclude), ScanRules(tuple(map(str.upper, include)), exclude)

    assert rules.takes(name) == rules.takes(name.upper()) == shouted.takes(name)


@given(st.integers(min_value=0, max_value=10_000), st.integers(min_value=-20_000, max_value=20_000))
def test_a_file_settles_as_long_before_now_as_after(settle_s: int, age_s: int) -> None:
    now_ns = 1_800_000_000 * 10**9

    assert ScanRules(settle_s=settle_s).is_settling(now_ns - age_s * 10**9, now_ns) == (abs(age_s) < settle_s)


def test_rules_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_SCAN_INCLUDE", "*.mp4, *.mxf")
    monkeypatch.setenv("NIGHTREEL_SCAN_EXCLUDE", "archive/tmp,")
    monkeypatch.setenv("NIGHTREEL_SETTLE_S", "30")

    assert ScanRules.from_environment() == ScanRules(("*.mp4", "*.mxf"), ("archive/tmp",), 30)


def test_a_setting_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_SCAN_INCLUDE", "*")
    monkeypatch.setenv("NIGHTREEL_SETTLE_S", "ten")

    with pytest.raises(SettingMissing, match="NIGHTREEL_SETTLE_S must be a whole number of seconds: it is 'ten'"):
        ScanRules.from_environment()
