"""`vision_stage.ahead`: what one thread makes, another takes."""

import threading
from collections.abc import Generator

import pytest

from stage_contract.errors import ItemRejected, Terminated
from stage_contract.vocabulary import Reason
from vision_stage.ahead import Ahead


def numbers(made: list[int], closed: threading.Event) -> Generator[int, None, None]:
    try:
        for number in range(1_000_000):
            made.append(number)
            yield number
    finally:
        closed.set()


def failing(error: BaseException) -> Generator[int, None, None]:
    yield 1
    raise error


def test_everything_comes_in_order() -> None:
    with Ahead(number for number in range(100)) as items:
        assert list(items) == list(range(100))


@pytest.mark.parametrize(
    "error", [ItemRejected(Reason.CORRUPT, "no frame"), OSError(5, "Input/output error"), Terminated()]
)
def test_an_error_is_raised_where_the_items_are_taken(error: BaseException) -> None:
    with Ahead(failing(error)) as items:
        taken = iter(items)
        assert next(taken) == 1
        with pytest.raises(type(error)) as caught:
            next(taken)
    assert caught.value is error


def test_no_thread_is_left_when_the_taker_gives_up() -> None:
    before, closed = threading.active_count(), threading.Event()
    with Ahead(numbers([], closed)) as items:
        assert next(iter(items)) == 0
    assert threading.active_count() == before
    assert closed.is_set()


def test_no_more_is_made_than_can_be_kept() -> None:
    made: list[int] = []
    with Ahead(numbers(made, threading.Event())) as items:
        iterator = iter(items)
        for _ in range(5):
            next(iterator)
    # One taken, one kept, one in the making.
    assert len(made) <= 5 + 2
