"""Finding media below a root."""

import os
from pathlib import Path

import pytest

from operators.errors import ChoiceInvalid
from operators.media_files import Location, find_media


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    for name in (
        "b.mp4", "a.MOV", "2024/tape 7.mp4", "2024/notes.txt", "2024/deep/er/c.mkv", ".hidden.mp4", ".cache/x.mp4",
        "up.mp4.part", "copying.tmp", "~$lock.mp4", "old.mp4~", "lost+found/y.mp4", "@eaDir/z.mp4",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def found_paths(archive: Path, path: str = "", pattern: str = "*") -> list[str]:
    return [location.path for location in find_media({"archive": archive}, "archive", path, pattern)]


def test_files_come_sorted_without_hidden_temporary_and_system_ones(archive: Path) -> None:
    assert found_paths(archive) == ["2024/deep/er/c.mkv", "2024/notes.txt", "2024/tape 7.mp4", "a.MOV", "b.mp4"]


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("2024", "*", ["2024/deep/er/c.mkv", "2024/notes.txt", "2024/tape 7.mp4"]),
        ("", "*.mov", ["a.MOV"]),
        ("", "2024/*.MP4", ["2024/tape 7.mp4"]),
        ("2024", "*.wav", []),
        ("2024/tape 7.mp4", "*", ["2024/tape 7.mp4"]),
    ],
)
def test_a_folder_a_file_or_a_pattern_narrows_the_search(
    archive: Path, path: str, pattern: str, expected: list[str]
) -> None:
    assert found_paths(archive, path, pattern) == expected


def test_links_to_folders_are_not_followed(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret.mp4").write_bytes(b"x")
    (archive / "out").symlink_to(tmp_path / "elsewhere")
    (archive / "2024/loop").symlink_to(archive)

    assert found_paths(archive, pattern="*.mp4") == ["2024/tape 7.mp4", "b.mp4"]


def test_names_that_are_not_utf8_are_found(archive: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    (archive / name).write_bytes(b"x")

    assert Location("archive", name) in find_media({"archive": archive}, "archive")


@pytest.mark.parametrize("path", ["..", "2024/../..", "/etc", "nothing/here", "a\0b", "x" * 5_000, "out"])
def test_paths_that_lead_out_or_nowhere_are_refused(archive: Path, tmp_path: Path, path: str) -> None:
    (archive / "out").symlink_to(tmp_path)

    with pytest.raises(ChoiceInvalid, match="a path must"):
        found_paths(archive, path)


def test_an_unknown_root_is_refused(archive: Path) -> None:
    with pytest.raises(ChoiceInvalid, match="one of archive: 'inbox' is not"):
        find_media({"archive": archive}, "inbox")
