"""Text can be read in both themes: contrast by the W3C's formula (WCAG 2.1), from the style sheet's own variables."""

import re

import pytest

from nightreel_ui.page import STATIC

ENOUGH = 4.5
SHEET = (STATIC / "nightreel.css").read_text()
SELECTORS = {"light": ":root {", "dark": ':root[data-theme="dark"] {'}
PAIRS = [
    *((words, ground) for words in ("text", "muted", "link") for ground in ("ground", "panel", "soft")),
    *((words, ground) for words in ("done", "warn", "bad") for ground in ("ground", "panel", "soft")),
    ("on-accent", "accent"),
    ("text", "mark"),
]


def colours(theme):
    """The theme's variables: red, green and blue of each, 0 to 1."""
    block = SHEET.split(SELECTORS[theme])[1].split("}")[0]
    found = re.findall(r"--([\w-]+): #([0-9a-f]{6})", block)
    return {name: [int(value[at : at + 2], 16) / 255 for at in (0, 2, 4)] for name, value in found}


def luminance(colour):
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", SELECTORS)
@pytest.mark.parametrize(("words", "ground"), PAIRS)
def test_text_stands_out_from_what_it_is_written_on(theme, words, ground):
    of = colours(theme)
    dark, light = sorted((luminance(of[words]), luminance(of[ground])))
    assert (light + 0.05) / (dark + 0.05) >= ENOUGH


def test_both_themes_say_the_same_colours():
    assert colours("light").keys() == colours("dark").keys()


def test_no_colour_is_written_past_the_variables():
    rules = re.sub(r":root[^{]*\{[^}]*\}", "", SHEET)
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgb\(|hsl\(", rules)
