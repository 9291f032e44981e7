"""`make benchmark`: what a person types, as the form has it."""

import argparse
from pathlib import Path

import pytest

from console.benchmark import choices, read_variant
from console.terminal import ConsoleError


def arguments(**given):
    names = ("variants", "repeats", "language", "name", "baseline")
    return argparse.Namespace(files=[Path("a.mp4")], **{name: given.get(name) for name in names})


def test_a_variant_is_written_in_one_word():
    assert read_variant("on the card=audio.transcribe+vision.analyze:cuda:float16:32") == {
        "name": "on the card",
        "stages": ["audio.transcribe", "vision.analyze"],
        "device": "cuda",
        "compute_type": "float16",
        "batch_size": 32,
    }
    assert read_variant("plain=vision.analyze:cpu") == {"name": "plain", "stages": ["vision.analyze"], "device": "cpu"}


@pytest.mark.parametrize(
    "text", ["audio.transcribe:cpu", "=audio.transcribe:cpu", "a=audio.transcribe", "a=b:cpu::8", "a=b:cpu:int8:x", ""]
)
def test_what_is_no_variant_is_refused_with_the_form(text):
    with pytest.raises(ConsoleError, match="must be"):
        read_variant(text)


def test_what_is_not_said_is_left_to_the_form():
    assert choices(arguments(), ["archive/a.mp4"]) == {"files": ["archive/a.mp4"]}


def test_what_is_said_is_passed_on():
    told = choices(arguments(variants=["a=b:cpu"], repeats=7, baseline="last"), ["archive/a.mp4"])
    assert (told["repeats"], told["baseline"], told["variants"][0]["name"]) == (7, "last", "a")
