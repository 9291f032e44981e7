"""Segments joined into passages, and the way back from a passage's characters to a segment's.

Speech recognition cuts sentences anywhere, and a recognizer of entities needs the words around a
name. So segments are joined, with one space between them, and worked on in passages of bounded size.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from stage_contract.outputs import Segment

MAX_PASSAGE_CHARS = 4_000
"""Bounds memory. spaCy's convolutions see four words to each side, so that more would not add context."""

SENTENCE_ENDS = (".", "!", "?", "…")
CLOSING_MARKS = "\"'\u201d\u2019)]»"
WHITESPACE = re.compile(r"\s")


@dataclass(frozen=True)
class Piece:
    """Part of a segment inside a passage: `length` characters, from `begin` there and `offset` in the segment."""

    segment: Segment
    offset: int
    begin: int
    length: int


@dataclass(frozen=True)
class Passage:
    """Text of one or more segments. Every white space character is a plain space."""

    text: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Place:
    """Characters `[start, end)` of a segment's text, as Unicode code points."""

    segment: Segment
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters themselves."""
        return self.segment.text[self.start : self.end]


def join_into_passages(segments: Iterable[Segment], max_chars: int = MAX_PASSAGE_CHARS) -> Iterator[Passage]:
    """Passages of at most `max_chars` characters, which together hold every word of `segments` once.

    In its second half a passage ends with the first segment that ends a sentence.
    """
    waiting: list[tuple[Segment, int, str]] = []
    length = 0
    for segment, offset, text in _bounded_parts(segments, max_chars):
        if waiting and length + 1 + len(text) > max_chars:
            yield _passage(waiting)
            waiting, length = [], 0
        waiting.append((segment, offset, text))
        length += len(text) + (length > 0)
        if length > max_chars // 2 and text.rstrip(CLOSING_MARKS).endswith(SENTENCE_ENDS):
            yield _passage(waiting)
            waiting, length = [], 0
    if waiting:
        yield _passage(waiting)


def locate(passage: Passage, start: int, end: int) -> Place | None:
    """The place in a segment of characters `[start, end)` of `passage`; none when they are all white space.

    What runs over a segment's end is not cut into two mentions: the longer part stands for it, the
    earlier one when both are as long.
    """
    first = bisect_right(passage.pieces, start, key=attrgetter("begin")) - 1
    best: Place | None = None
    for piece in passage.pieces[max(first, 0) :]:
        if piece.begin >= end:
            break
        place = _overlap(piece, start, end)
        if place and (best is None or place.end - place.start > best.end - best.start):
            best = place
    return best


def _overlap(piece: Piece, start: int, end: int) -> Place | None:
    begin = max(start - piece.begin, 0) + piece.offset
    stop = min(end - piece.begin, piece.length) + piece.offset
    text = piece.segment.text[begin:stop]
    begin += len(text) - len(text.lstrip())
    stop -= len(text) - len(text.rstrip())
    return Place(piece.segment, begin, stop) if begin < stop else None


def _bounded_parts(segments: Iterable[Segment], max_chars: int) -> Iterator[tuple[Segment, int, str]]:
    for segment in segments:
        text = segment.text
        offset = 0
        while remaining := text[offset:].strip():
            offset += len(text[offset:]) - len(text[offset:].lstrip())
            part = remaining if len(remaining) <= max_chars else _head(remaining, max_chars)
            yield segment, offset, part
            offset += len(part)


def _head(text: str, max_chars: int) -> str:
    """The longest run of whole words within `max_chars`; a word longer than that is cut."""
    words = list(WHITESPACE.finditer(text, 0, max_chars + 1))
    return text[: words[-1].start()].rstrip() if words else text[:max_chars]


def _passage(parts: list[tuple[Segment, int, str]]) -> Passage:
    pieces: list[Piece] = []
    begin = 0
    for segment, offset, text in parts:
        pieces.append(Piece(segment, offset, begin, len(text)))
        begin += len(text) + 1
    return Passage(WHITESPACE.sub(" ", " ".join(text for _, _, text in parts)), tuple(pieces))
