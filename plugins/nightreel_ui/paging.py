"""Pages of a long list: one more row than shown is asked for, so that nothing has to be counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Query

ROWS = 50

Row = TypeVar("Row")

PageNumber = Annotated[int, Query(alias="page", ge=1, le=100_000)]
"""Which page is asked for, from 1: `page` in the address."""


@dataclass(frozen=True)
class Place:
    """Which rows of a list a page shows. `page` counts from 1; so do `first` and `last`."""

    page: int
    first: int
    last: int
    has_more: bool


def offset(page: int, rows: int = ROWS) -> int:
    """How many rows come before a page."""
    return (page - 1) * rows


def cut(found: Sequence[Row], page: int, rows: int = ROWS) -> tuple[list[Row], Place]:
    """The rows to show of `rows` + 1 that were asked for, and where they stand."""
    shown = list(found[:rows])
    before = offset(page, rows)
    return shown, Place(page, before + 1, before + len(shown), len(found) > rows)
