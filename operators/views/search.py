"""Search over what the stages found: speech, objects, names and text on screen; by asset, each hit with its time."""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from operators.clean_text import storable
from operators.database import Database, transaction
from operators.errors import ChoiceInvalid
from operators.queries import query
from operators.views.asset_list import AssetCard, describe
from operators.views.excerpts import Part, beginning, ending, mark_span, one_line, shorten, split_marked

CANDIDATES = 5_000
"""Hits of each kind that are ranked. Words that are in more utterances tell assets apart by nothing."""

TIMEOUT = "10s"
NEAR_S = 10.0
"""How long ago an utterance may have ended to count as spoken with a picture."""

LONGEST_TEXT = 20_000
"""Characters of an utterance or line in which hits are marked; speech has some dozens, so more is no speech."""


class Kind(StrEnum):
    """Where to look."""

    EVERYTHING = "everything"
    SPEECH = "speech"
    OBJECTS = "objects"
    NAMES = "names"
    SCREEN = "screen"


@dataclass(frozen=True)
class Wish:
    """What is looked for. `text` as in web searches: words, "phrases", or, -not; as a name, what one begins with.

    `language` is that of the speech; `folder` is `root` or `root/path`. None: any.
    """

    text: str
    kind: Kind = Kind.EVERYTHING
    language: str | None = None
    folder: str | None = None

    @property
    def name(self) -> str:
        """The text without the signs of a search."""
        return " ".join(self.text.replace('"', " ").split())


@dataclass(frozen=True)
class Hit:
    """Something found in an asset at `time_s`; what it says in parts, and what is spoken around it.

    `note` says more of it: the kind of a name, how sure an object is, in how many frames a text is seen.
    """

    kind: Kind
    time_s: float
    parts: tuple[Part, ...]
    note: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class FoundAsset:
    """An asset with its best hits, in the order of time, and how many hits it has of each kind."""

    card: AssetCard
    counts: dict[Kind, int]
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Found:
    """A page of assets. `is_cut`: there were more hits than are ranked."""

    assets: tuple[FoundAsset, ...]
    is_cut: bool


def search(database: Database, wish: Wish, limit: int, offset: int, hits: int) -> Found:
    """Up to `limit` assets in which something is found, from `offset` on, each with up to `hits` hits of a kind.

    Raises:
        ChoiceInvalid: the search has no word that must be there, or takes too long.
    """
    with _searching(database) as connection:
        _check(connection, wish)
        labels = _labels(connection, wish)
        rows = connection.execute(query("search_assets"), _asked(wish, labels, limit, offset)).mappings().all()
        counts = {row["asset_id"]: _counts(row) for row in rows}
        found = _find_hits(connection, wish, labels, counts, hits)
        cards = describe(connection, list(counts))
    assets = [FoundAsset(card, counts[card.asset_id], tuple(found[card.asset_id])) for card in cards]
    return Found(tuple(assets), any(row["largest"] >= CANDIDATES for row in rows))


def search_asset(database: Database, wish: Wish, asset_id: str, hits: int) -> tuple[Hit, ...]:
    """Up to `hits` hits of each kind in one asset, in the order of time.

    Raises:
        ChoiceInvalid: the search has no word that must be there, or takes too long.
    """
    with _searching(database) as connection:
        _check(connection, wish)
        kinds = {kind: 1 for kind in Kind if wish.kind in (Kind.EVERYTHING, kind)}
        return tuple(_find_hits(connection, wish, _labels(connection, wish), {asset_id: kinds}, hits)[asset_id])


def list_labels(database: Database) -> list[str]:
    """The kinds of objects that were ever found."""
    with transaction(database) as connection:
        return list(connection.execute(query("list_labels")).scalars())


def list_languages(database: Database) -> list[str]:
    """The languages that are spoken."""
    with transaction(database) as connection:
        return list(connection.execute(query("list_languages")).scalars())


def list_roots(database: Database) -> list[str]:
    """The roots that files were seen in."""
    with transaction(database) as connection:
        return list(connection.execute(query("list_roots")).scalars())


@contextmanager
def _searching(database: Database) -> Iterator[Connection]:
    try:
        with transaction(database) as connection:
            connection.execute(query("plan_search"), {"timeout": TIMEOUT})
            yield connection
    except OperationalError as error:
        if not isinstance(error.orig, psycopg.errors.QueryCanceled):
            raise
        raise ChoiceInvalid(
            f"a search must end within {TIMEOUT}: this one does not; use rarer words, or look in one kind or folder"
        ) from error


def _check(connection: Connection, wish: Wish) -> None:
    tree = connection.execute(query("search_tree"), {"query": storable(wish.text)}).scalar_one()
    if tree == "":
        raise ChoiceInvalid("a search must have a word of letters or digits: this one has none; add one")
    if tree == "T":
        raise ChoiceInvalid("a search must have a word that is to be found: all of these are excluded; add one")


def _labels(connection: Connection, wish: Wish) -> list[str]:
    if wish.kind not in (Kind.EVERYTHING, Kind.OBJECTS):
        return []
    known = list_labels(connection)
    same = [label for label in known if label.lower() == wish.name.lower()]
    if same:
        return same
    asked = {"labels": known, "query": storable(wish.text)}
    return list(connection.execute(query("match_labels"), asked).scalars())


def _asked(wish: Wish, labels: list[str], limit: int, offset: int) -> dict[str, Any]:
    root, _, folder = (wish.folder or "").strip("/").partition("/")
    folder = storable(folder.strip("/"))
    escaped = folder.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return {
        "query": storable(wish.text),
        "name": storable(wish.name),
        "labels": labels,
        "language": storable(wish.language) if wish.language else None,
        "root": storable(root) or None,
        "folder": folder,
        "below": f"{escaped}/%" if folder else "%",
        **{f"in_{kind}": wish.kind in (Kind.EVERYTHING, kind) for kind in (Kind.SPEECH, Kind.SCREEN)},
        "in_names": wish.kind in (Kind.EVERYTHING, Kind.NAMES) and bool(wish.name),
        "candidates": CANDIDATES,
        "limit": limit,
        "offset": offset,
    }


def _counts(row: Any) -> dict[Kind, int]:
    kinds = (Kind.SPEECH, Kind.OBJECTS, Kind.NAMES, Kind.SCREEN)
    return {kind: int(row[kind]) for kind in kinds if row[kind]}


def _find_hits(
    connection: Connection, wish: Wish, labels: list[str], counts: dict[str, dict[Kind, int]], hits: int
) -> dict[str, list[Hit]]:
    """The best hits by asset, of the kinds that it has any of."""
    start, stop = (f"[{secrets.token_hex(16)}]" for _ in range(2))
    asked = {
        "query": storable(wish.text),
        "name": storable(wish.name),
        "labels": labels,
        "hits": hits,
        "near_s": NEAR_S,
        "longest": LONGEST_TEXT,
        "start": start,
        "stop": stop,
    }
    found: dict[str, list[Hit]] = defaultdict(list)
    for kind, name, read in (
        (Kind.SPEECH, "search_speech", _speech),
        (Kind.OBJECTS, "search_objects", _objects),
        (Kind.NAMES, "search_names", _names),
        (Kind.SCREEN, "search_screen", _screen),
    ):
        assets = [asset_id for asset_id, of_kind in counts.items() if kind in of_kind]
        if not assets or (kind is Kind.OBJECTS and not labels) or (kind is Kind.NAMES and not wish.name):
            continue
        rows = connection.execute(query(name), {**asked, "assets": assets})
        for asset_id, hit in read(rows.all(), start, stop):
            found[asset_id].append(hit)
    for of_asset in found.values():
        of_asset.sort(key=lambda hit: hit.time_s)
    return found


def _speech(rows: Sequence[Any], start: str, stop: str) -> Iterable[tuple[str, Hit]]:
    for row in rows:
        parts = shorten(_marked(row, start, stop))
        yield row.asset_id, Hit(Kind.SPEECH, row.start_s, parts, "", ending(row.before), beginning(row.after))


def _screen(rows: Sequence[Any], start: str, stop: str) -> Iterable[tuple[str, Hit]]:
    for row in rows:
        note = f"in {row.frames} frame{'s' * (row.frames > 1)}"
        yield (
            row.asset_id,
            Hit(Kind.SCREEN, row.time_s, shorten(_marked(row, start, stop)), note, after=_said(row.around)),
        )


def _objects(rows: Sequence[Any], start: str, stop: str) -> Iterable[tuple[str, Hit]]:
    for row in rows:
        parts = (Part(one_line(row.label), True),)
        yield row.asset_id, Hit(Kind.OBJECTS, row.time_s, parts, f"{row.confidence:.0%} sure", after=_said(row.around))


def _names(rows: Sequence[Any], start: str, stop: str) -> Iterable[tuple[str, Hit]]:
    for row in rows:
        parts = shorten(mark_span(row.text, row.start_offset, row.end_offset, row.name))
        yield (
            row.asset_id,
            Hit(Kind.NAMES, row.start_s, parts, one_line(row.label), ending(row.before), beginning(row.after)),
        )


def _said(around: str | None) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{beginning(around)}\N{RIGHT DOUBLE QUOTATION MARK}" if around else ""


def _marked(row: Any, start: str, stop: str) -> tuple[Part, ...]:
    return split_marked(row.marked, row.text[:LONGEST_TEXT], start, stop)
