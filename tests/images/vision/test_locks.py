"""What the vision image's build files say."""

import re
from pathlib import Path

import pytest

from stage_contract.vocabulary import Variant

IMAGE = Path(__file__).parents[3] / "images" / "vision"
BASE_LOCK = IMAGE.parent / "base" / "requirements.lock"
LOCKS = ("requirements.cpu.lock", "requirements.cuda.lock", "requirements.convert.lock")
DEVICE_PACKAGES = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")


def pins(lock: Path) -> dict[str, str]:
    """Versions by package name, of a lock in which every line is an exact pin."""
    lines = [line for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line) for line in lines]
    assert all(found), [line for line, pin in zip(lines, found, strict=True) if not pin]
    return {re.sub(r"[-_.]+", "-", pin[1]).lower(): pin[2] for pin in found if pin}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_repeats_nothing_of_the_base(name: str) -> None:
    assert not pins(IMAGE / name).keys() & pins(BASE_LOCK).keys()


def test_both_variants_differ_only_in_what_drives_the_device() -> None:
    cpu, cuda = (pins(IMAGE / f"requirements.{variant}.lock") for variant in Variant)
    assert {name for name, _ in cpu.items() ^ cuda.items() if not DEVICE_PACKAGES.fullmatch(name)} == set()
