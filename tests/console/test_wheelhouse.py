"""Locks are read strictly, wheels are fetched once, and a CPU image never gets a CUDA build."""

import os
import zipfile
from pathlib import Path

import pytest

from console import wheelhouse
from console.terminal import ConsoleError

PURE = "typing-inspection==0.4.5"
OTHER = "annotated-types==0.8.0"


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Wheels land in the test's folder, not in the repository's."""
    monkeypatch.setattr(wheelhouse, "WHEELS", tmp_path / "wheels")
    monkeypatch.setattr(wheelhouse, "POOL", tmp_path / "wheels" / "pool")
    return tmp_path


def write_lock(folder: Path, image: str, *lines: str, variant: str = "cpu") -> Path:
    lock = folder / "images" / image / f"requirements.{variant}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("\n".join(lines) + "\n")
    return lock


def make_wheel(folder: Path, name: str, version: str) -> None:
    """A wheel that pip accepts, without any code."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def only_wheels_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip sees this folder and no index."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


@pytest.mark.parametrize("line", ["numpy>=2", "numpy", "-r other.lock", "numpy==2.4.6 ; python_version < '3.12'"])
def test_a_lock_line_that_is_no_exact_pin_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    lock = write_lock(tmp_path, "audio", "# comment", "", "six==1.17.0  # why", line)
    with pytest.raises(ConsoleError, match=r"must be name==version: .*requirements\.cpu\.lock:4 is"):
        wheelhouse.read_lock(lock)


def test_a_missing_lock_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="must have its lock"):
        wheelhouse.read_lock(tmp_path / "requirements.cpu.lock")


def test_the_folder_is_named_after_image_and_variant() -> None:
    assert wheelhouse.lock_name(Path("images/audio/requirements.cuda.lock")) == "audio-cuda"
    assert wheelhouse.lock_name(Path("images/base/requirements.lock")) == "base"


def test_a_public_version_accepts_a_local_build_of_it_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert wheelhouse.pooled_wheel(wheelhouse.Requirement("torch", "2.13.0"), tmp_path)
    assert wheelhouse.pooled_wheel(wheelhouse.Requirement("torch", "2.13.0+cpu"), tmp_path)
    assert wheelhouse.pooled_wheel(wheelhouse.Requirement("torch", "2.13.0+cu128"), tmp_path) is None
    assert wheelhouse.pooled_wheel(wheelhouse.Requirement("torch", "2.13"), tmp_path) is None
    assert wheelhouse.pooled_wheel(wheelhouse.Requirement("torchvision", "2.13.0"), tmp_path) is None


def test_names_are_compared_as_the_registry_does(tmp_path: Path) -> None:
    (tmp_path / "Foo_Bar.baz-1.0-py3-none-any.whl").touch()
    assert wheelhouse.pooled_wheel(wheelhouse.Requirement("foo-bar-baz", "1.0"), tmp_path)


def test_wheels_that_two_locks_share_are_downloaded_once_and_a_complete_folder_needs_no_pip(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_lock = write_lock(own_folders, "one", PURE)
    first = wheelhouse.fetch(first_lock)
    second = wheelhouse.fetch(write_lock(own_folders, "two", OTHER, PURE))
    shared = next(first.glob("typing_inspection-*.whl"))
    assert (second / shared.name).stat().st_ino == shared.stat().st_ino
    assert len(list(second.glob("*.whl"))) == 2

    only_wheels_from(own_folders / "nowhere", monkeypatch)
    assert wheelhouse.fetch(first_lock) == first
    assert wheelhouse.fetch(write_lock(own_folders, "three", PURE)) != first


def test_a_package_without_a_wheel_is_told_with_the_settings_that_help(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = own_folders / "links"
    links.mkdir()
    (links / "sourceonly-1.0.tar.gz").touch()
    only_wheels_from(links, monkeypatch)
    lock = write_lock(own_folders, "audio", "sourceonly==1.0")
    with pytest.raises(ConsoleError, match=r"No matching distribution(.|\n)*source only cannot be used(.|\n)*PIP_"):
        wheelhouse.fetch(lock)
    assert not list((own_folders / "wheels").glob("audio-*"))


def test_a_cpu_lock_is_not_given_a_cuda_build_of_torch(own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(own_folders / "links", "torch", "9.0.0")
    only_wheels_from(own_folders / "links", monkeypatch)
    lock = write_lock(own_folders, "vision", "torch==9.0.0")
    with pytest.raises(ConsoleError, match=r"CPU build of torch: pip would take torch 9\.0\.0.*PIP_EXTRA_INDEX_URL"):
        wheelhouse.fetch(lock)
    with pytest.raises(ConsoleError, match="CPU build of torch"):
        wheelhouse.refuse_cuda_builds([write_lock(own_folders, "audio", PURE), lock])
    wheelhouse.refuse_cuda_builds([write_lock(own_folders, "vision", "torch==9.0.0", variant="cuda")])


def test_cpu_and_cuda_locks_with_the_same_torch_version_get_different_wheels(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = own_folders / "links"
    make_wheel(links, "torch", "9.0.0+cpu")
    only_wheels_from(links, monkeypatch)
    cpu = wheelhouse.fetch(write_lock(own_folders, "vision", "torch==9.0.0"))
    cuda_lock = write_lock(own_folders, "vision", "torch==9.0.0", variant="cuda")
    with pytest.raises(ConsoleError, match=r"CUDA image must have a CUDA build of torch==9\.0\.0: pip took .*\+cpu"):
        wheelhouse.fetch(cuda_lock)

    (links / "torch-9.0.0+cpu-py3-none-any.whl").unlink()
    make_wheel(links, "torch", "9.0.0")
    cuda = wheelhouse.fetch(cuda_lock)
    assert [wheel.name for wheel in cpu.glob("*.whl")] == ["torch-9.0.0+cpu-py3-none-any.whl"]
    assert [wheel.name for wheel in cuda.glob("*.whl")] == ["torch-9.0.0-py3-none-any.whl"]


def test_a_cuda_build_of_torchvision_is_repacked_for_a_cpu_lock(own_folders: Path) -> None:
    wheels = wheelhouse.fetch(write_lock(own_folders, "vision", "torchvision==0.28.0"))
    (wheel,) = wheels.glob("*.whl")
    assert wheel.name.startswith("torchvision-0.28.0+cpu-")
