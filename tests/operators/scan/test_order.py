"""What a scan hashes first."""

import pytest

from operators.backfill.scope import Order
from operators.scan import store
from operators.scan.order import HashOrder
from tests.operators.scan.conftest import OLD_S, Archive

FILES = {
    "archive/a.mp4": (300, OLD_S),
    "archive/b/old.mp4": (200, OLD_S - 9),
    "archive/b/new.mp4": (100, OLD_S + 9),
    "archive/bb.mp4": (400, OLD_S + 5),
    "tapes/b/t.mp4": (50, OLD_S + 7),
}


@pytest.fixture
def filled(archive: Archive) -> Archive:
    for name, (size_bytes, mtime_s) in FILES.items():
        archive.write(name, name.encode().ljust(size_bytes), mtime_s)
    return archive


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.NEWEST, ["archive/b/new.mp4", "tapes/b/t.mp4", "archive/bb.mp4", "archive/a.mp4", "archive/b/old.mp4"]),
        (Order.OLDEST, ["archive/b/old.mp4", "archive/a.mp4", "archive/bb.mp4", "tapes/b/t.mp4", "archive/b/new.mp4"]),
        (
            Order.SHORTEST,
            ["tapes/b/t.mp4", "archive/b/new.mp4", "archive/b/old.mp4", "archive/a.mp4", "archive/bb.mp4"],
        ),
    ],
)
def test_files_are_hashed_in_the_order_that_is_wanted(
    filled: Archive, monkeypatch: pytest.MonkeyPatch, order: Order, expected: list[str]
) -> None:
    # Also over the border of two pages.
    monkeypatch.setattr(store, "READ_BATCH", 2)

    assert filled.hashed_in(HashOrder(order), monkeypatch, "archive", "tapes") == expected


@pytest.mark.parametrize(
    ("first_folder", "expected"),
    [
        ("archive/b", ["archive/b/old.mp4", "archive/b/new.mp4"]),
        ("archive/b/", ["archive/b/old.mp4", "archive/b/new.mp4"]),
        ("archive/bb.mp4", ["archive/bb.mp4", "archive/b/old.mp4"]),
        ("tapes", ["tapes/b/t.mp4", "archive/b/old.mp4"]),
        ("tapes/nothing", ["archive/b/old.mp4", "archive/a.mp4"]),
    ],
)
def test_one_folder_goes_before_all_else(
    filled: Archive, monkeypatch: pytest.MonkeyPatch, first_folder: str, expected: list[str]
) -> None:
    order = HashOrder(Order.OLDEST, first_folder)

    assert filled.hashed_in(order, monkeypatch, "archive", "tapes")[:2] == expected


def test_files_of_the_same_time_go_by_their_names(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("archive/c.mp4", "archive/a.mp4", "archive/b.mp4"):
        archive.write(name)

    assert archive.hashed_in(HashOrder(), monkeypatch) == ["archive/a.mp4", "archive/b.mp4", "archive/c.mp4"]


def test_what_cannot_be_looked_into_goes_last(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    (filled.folder / "archive/0.mp4").symlink_to(filled.folder)
    (filled.folder / "archive/1.mp4").symlink_to("gone.mp4")

    assert filled.hashed_in(HashOrder(), monkeypatch)[-1] == "archive/1.mp4"
