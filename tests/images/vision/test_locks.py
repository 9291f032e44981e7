"""What the vision image's build files say."""

import re
from pathlib import Path

import pytest

from stage_contract.vocabulary import Variant

IMAGE = Path(__file__).parents[3] / "images" / "vision"
BASE_LOCK = IMAGE.parent / "base" / "requirements.lock"
LOCKS = ("requirements.cpu.lock", "requirements.cuda.lock", "requirements.convert.cpu.lock")


def pins(lock: Path) -> dict[str, str]:
    """Versions by package name, of a lock in which every line is an exact pin."""
    lines = [line for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line) for line in lines]
    assert all(found), [line for line, pin in zip(lines, found, strict=True) if not pin]
    return {re.sub(r"[-_.]+", "-", pin[1]).lower(): pin[2] for pin in found if pin}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_repeats_nothing_of_the_base(name: str) -> None:
    assert not pins(IMAGE / name).keys() & pins(BASE_LOCK).keys()


def test_the_cuda_variant_reads_text_with_the_libraries_of_the_cpu_variant() -> None:
    cpu, cuda = (pins(IMAGE / f"requirements.{variant}.lock") for variant in Variant)
    assert cpu.items() <= cuda.items()


def test_networks_are_converted_by_the_libraries_that_run_them() -> None:
    cpu, cuda, convert = (pins(IMAGE / name) for name in LOCKS)
    assert cpu.items() <= convert.items()
    assert {name for name in cuda.keys() & convert.keys() if cuda[name] != convert[name]} == {"torch", "torchvision"}


def test_the_label_list_has_no_doubles() -> None:
    lines = (IMAGE / "converters" / "tags.txt").read_text().splitlines()
    labels = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    assert len(labels) == len(set(labels)) >= 80
