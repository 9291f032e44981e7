"""How far a transcript is from a reference, in words."""

import re
from collections.abc import Sequence


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; an apostrophe within a word stays."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("\u2019", "'"))


def word_error_rate(reference: str, heard: str) -> float:
    """Substituted, missing and added words, as a share of the reference's words (0 is perfect, may pass 1)."""
    expected = words(reference)
    if not expected:
        raise ValueError(f"a reference must hold words: {reference!r} holds none")
    return edit_distance(expected, words(heard)) / len(expected)


def edit_distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Levenshtein's: the fewest substitutions, deletions and insertions that lead from one to the other."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]
