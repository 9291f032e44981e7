"""Text with its hits: in parts that know whether they are a hit, so that nothing in the text can pass for a mark."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from operators.clean_text import printable

LONGEST = 260
BEFORE_HIT = 90
SPACES = re.compile(r"\s+")
CUT = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class Part:
    """A piece of text; the pieces in a row are the text."""

    text: str
    is_hit: bool = False


def split_marked(marked: str, text: str, start: str, stop: str) -> tuple[Part, ...]:
    """The parts of `text` as `marked` has them between `start` and `stop`, which nobody could guess beforehand.

    Where `marked` without its marks is not `text`, the text comes without marks: it is never changed.
    """
    plain, *pieces = marked.split(start)
    parts = [Part(plain)]
    for piece in pieces:
        hit, _, rest = piece.partition(stop)
        parts += [Part(hit, True), Part(rest)]
    whole = tuple(part for part in parts if part.text)
    return whole if "".join(part.text for part in whole) == text else (Part(text),)


def mark_span(text: str, begin: int, end: int, wanted: str) -> tuple[Part, ...]:
    """`text` with `wanted` marked, at `[begin, end)`, or where it stands first if it is not there."""
    if text[begin:end] != wanted:
        begin = text.find(wanted)
        end = begin + len(wanted)
    if begin < 0 or not wanted:
        return (Part(text),)
    parts = (Part(text[:begin]), Part(text[begin:end], True), Part(text[end:]))
    return tuple(part for part in parts if part.text)


def shorten(parts: Sequence[Part], longest: int = LONGEST) -> tuple[Part, ...]:
    """At most about `longest` characters, from shortly before the first hit on; the first word kept is whole."""
    text = "".join(part.text for part in parts)
    if len(text) <= longest:
        return tuple(map(_shown, parts))
    hit_at = 0
    for part in parts:
        if part.is_hit:
            break
        hit_at += len(part.text)
    begin = max(0, hit_at - BEFORE_HIT) if hit_at < len(text) else 0
    if begin:
        begin = min(hit_at, text.rfind(" ", 0, begin) + 1 or begin)
    end = begin + longest
    kept, at = [Part(CUT)] if begin else [], 0
    for part in parts:
        piece = part.text[max(0, begin - at) : max(0, end - at)]
        at += len(part.text)
        if piece:
            kept.append(replace(part, text=piece))
    if end < len(text):
        kept.append(Part(CUT))
    return tuple(map(_shown, kept))


def beginning(text: str | None, longest: int = LONGEST // 2) -> str:
    """The first words, on one line."""
    line = one_line(text)
    return line if len(line) <= longest else line[:longest].rpartition(" ")[0] + CUT


def ending(text: str | None, longest: int = LONGEST // 2) -> str:
    """The last words, on one line."""
    line = one_line(text)
    return line if len(line) <= longest else CUT + line[-longest:].partition(" ")[2]


def one_line(text: str | None) -> str:
    """The text for a page: on one line, what could turn its direction or hide in it written out."""
    return printable(SPACES.sub(" ", text or "").strip())


def _shown(part: Part) -> Part:
    return replace(part, text=printable(SPACES.sub(" ", part.text)))
