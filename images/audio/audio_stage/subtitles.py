"""Subtitles from a transcript: cues of one or two short lines, as SRT and as WebVTT.

Limits follow common broadcast practice (EBU-TT-D guidance, Netflix timed text guide): two lines of 42
characters, one to seven seconds on screen.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stage_contract.outputs import Segment

MAX_LINES = 2
MAX_LINE_CHARACTERS = 42
MIN_CUE_MS = 1_000
MAX_CUE_MS = 7_000
PAUSE_MS = 1_000

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
# The full stops of Latin and of Chinese and Japanese script, perhaps with closing quotes or brackets after them.
_SENTENCE_END = re.compile("[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)\\]]*$")


@dataclass(frozen=True)
class Cue:
    """Lines on screen during `[start_ms, end_ms)`."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Piece:
    """A word, or a part of a very long one. `text` keeps its leading space; `ends_sentence` invites a new cue."""

    start_ms: int
    end_ms: int
    text: str
    ends_sentence: bool


def make_cues(segments: Iterable[Segment]) -> tuple[Cue, ...]:
    """Cues in time order that do not overlap.

    A cue ends before a pause, when its lines are full, after seven seconds, or after a sentence. It
    stays for a second where the next one leaves room for it. `segments` are in time order.
    """
    groups: list[list[_Piece]] = []
    for piece in _in_order(piece for segment in segments for piece in _pieces(segment)):
        if groups and not _starts_cue(groups[-1], piece):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    next_starts_ms = [*(group[0].start_ms for group in groups[1:]), None]
    return tuple(_cue(group, next_start_ms) for group, next_start_ms in zip(groups, next_starts_ms, strict=False))


def format_srt(cues: Iterable[Cue]) -> str:
    """SubRip text; empty when there is no cue."""
    return "".join(
        f"{number}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n{_srt_text(cue)}\n\n"
        for number, cue in enumerate(cues, start=1)
    )


def format_vtt(cues: Iterable[Cue]) -> str:
    """WebVTT text (https://www.w3.org/TR/webvtt1/), with `&`, `<` and `>` escaped."""
    return "WEBVTT\n" + "".join(
        f"\n{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n{_vtt_text(cue)}\n" for cue in cues
    )


def wrap(texts: Sequence[str]) -> tuple[str, ...] | None:
    """Lines for these pieces of text, as equal in length as they can be; none when they do not fit."""
    whole = "".join(texts).strip()
    if len(whole) <= MAX_LINE_CHARACTERS:
        return (whole,)
    splits = (("".join(texts[:i]).strip(), "".join(texts[i:]).strip()) for i in range(1, len(texts)))
    fitting = [lines for lines in splits if max(map(len, lines)) <= MAX_LINE_CHARACTERS]
    return min(fitting, key=lambda lines: abs(len(lines[0]) - len(lines[1])), default=None)


def _pieces(segment: Segment) -> Iterator[_Piece]:
    words = [(word.start_s, word.end_s, word.text) for word in segment.words] or [
        (segment.start_s, segment.end_s, f" {segment.text}")
    ]
    for index, (start_s, end_s, text) in enumerate(words):
        parts = _short_parts(text)
        step_s = (end_s - start_s) / max(1, len(parts))
        for part_index, part in enumerate(parts):
            last = part_index == len(parts) - 1
            ends_sentence = last and (index == len(words) - 1 or bool(_SENTENCE_END.search(part)))
            start_ms = round((start_s + part_index * step_s) * 1000)
            end_ms = round((start_s + (part_index + 1) * step_s) * 1000)
            yield _Piece(start_ms, end_ms, part, ends_sentence)


def _short_parts(text: str) -> list[str]:
    """Words of `text`, none longer than a line; the first keeps its leading space, the others get one."""
    parts: list[str] = []
    for word in _CONTROL_CHARACTERS.sub(" ", text).split():
        separator = " " if parts or text[:1].isspace() else ""
        chunks = [word[i : i + MAX_LINE_CHARACTERS] for i in range(0, len(word), MAX_LINE_CHARACTERS)]
        parts += [separator + chunks[0], *chunks[1:]]
    return parts


def _in_order(pieces: Iterable[_Piece]) -> Iterator[_Piece]:
    # Word times come from attention and may run into each other by some hundredths of a second.
    earliest_ms = 0
    for piece in pieces:
        start_ms = max(piece.start_ms, earliest_ms)
        yield _Piece(start_ms, max(piece.end_ms, start_ms + 1), piece.text, piece.ends_sentence)
        earliest_ms = start_ms + 1


def _starts_cue(group: Sequence[_Piece], piece: _Piece) -> bool:
    first, last = group[0], group[-1]
    return (
        piece.start_ms - last.end_ms > PAUSE_MS
        or piece.end_ms - first.start_ms > MAX_CUE_MS
        or (last.ends_sentence and piece.start_ms - first.start_ms >= MIN_CUE_MS)
        or wrap([p.text for p in (*group, piece)]) is None
    )


def _cue(group: Sequence[_Piece], next_start_ms: int | None) -> Cue:
    start_ms = group[0].start_ms
    end_ms = max(max(piece.end_ms for piece in group), start_ms + MIN_CUE_MS)
    if next_start_ms is not None:
        end_ms = min(end_ms, next_start_ms)
    lines = wrap([piece.text for piece in group])
    if lines is None:
        raise ValueError(f"a cue must fit {MAX_LINES} lines of {MAX_LINE_CHARACTERS} characters: {group!r} does not")
    return Cue(start_ms, end_ms, lines)


def _time(time_ms: int, decimal_mark: str) -> str:
    minutes, ms = divmod(time_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{ms // 1000:02d}{decimal_mark}{ms % 1000:03d}"


def _srt_text(cue: Cue) -> str:
    # SubRip has no escapes; only its own arrow could be mistaken for a time line.
    return "\n".join(line.replace("-->", "→") for line in cue.lines)


def _vtt_text(cue: Cue) -> str:
    return "\n".join(line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in cue.lines)
