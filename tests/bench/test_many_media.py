"""The generator of archives: every file is distinct, old, and a film as before."""

from pathlib import Path

from tests.bench.many_media import FILES_A_FOLDER, OLD_S, distinct, file_name, fill


def boxes(film: bytes) -> list[tuple[bytes, bytes]]:
    """The boxes of an MP4's top level: type and content."""
    found = []
    while film:
        size = int.from_bytes(film[:4], "big")
        found.append((film[4:8], film[8:size]))
        film = film[size:]
    return found


def test_a_copy_is_the_film_with_one_box_more() -> None:
    film = b"\0\0\0\x0cftypisom\0\0\0\x0bmdatxyz"

    assert boxes(distinct(film, 12)) == [*boxes(film), (b"free", b"nightreel copy 12")]


def test_every_file_has_content_and_a_name_of_its_own_and_looks_old(tmp_path: Path) -> None:
    count = FILES_A_FOLDER + 3

    written = fill(tmp_path / "made", count, [b"", b"\0\0\0\x08free"])

    made = sorted(path for path in (tmp_path / "made").rglob("*") if path.is_file())
    assert made == [tmp_path / "made" / file_name(number) for number in range(count)]
    assert len({path.read_bytes() for path in made}) == count
    assert sum(path.stat().st_size for path in made) == written
    assert [path.stat().st_mtime for path in made] == [OLD_S + number for number in range(count)]
