"""Search over real rows: what is found, in which order, and that text stays text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from operators.errors import ChoiceInvalid
from operators.views import search as views
from operators.views.search import Found, Hit, Kind, Wish, list_labels, list_languages, list_roots, search, search_asset
from stage_contract.outputs import Entity
from tests.operators.views.archive_samples import add_film

AddFilm = Callable[..., str]


@pytest.fixture
def add(media_database: Engine, results: Path, tmp_path: Path) -> AddFilm:
    """Adds a film to the archive and publishes its results."""
    archive = tmp_path / "archive"
    archive.mkdir()
    return lambda name, *sentences, **more: add_film(media_database, results, archive, name, *sentences, **more)


def look(database: Engine, text: str, kind: Kind = Kind.EVERYTHING, limit: int = 10, offset: int = 0, **more) -> Found:
    return search(database, Wish(text, kind, **more), limit, offset, hits=5)


def marked(hit: Hit) -> list[str]:
    return [part.text for part in hit.parts if part.is_hit]


def told(hit: Hit) -> str:
    return "".join(part.text for part in hit.parts)


def names(found: Found) -> list[str]:
    return [asset.card.name for asset in found.assets]


def test_an_utterance_is_found_with_its_time_its_words_marked_and_what_is_said_around(
    media_database: Engine, add: AddFilm
) -> None:
    add("moon.mp4", "Good evening.", "We choose to go to the Moon.", "Thank you.")

    (asset,) = look(media_database, "moon choose").assets

    (hit,) = asset.hits
    assert (asset.card.place, asset.counts) == ("archive/moon.mp4", {Kind.SPEECH: 1})
    assert (hit.kind, hit.time_s, hit.before, hit.after) == (Kind.SPEECH, 4.0, "Good evening.", "Thank you.")
    assert (told(hit), marked(hit)) == ("We choose to go to the Moon.", ["choose", "Moon"])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("MOON", ["both.mp4", "moon.mp4"]),
        ("moon mars", ["both.mp4"]),
        ("moon or mars", ["both.mp4", "mars.mp4", "moon.mp4"]),
        ("moon -mars", ["moon.mp4"]),
        ('"to mars"', ["mars.mp4"]),
        ("moo", []),
        ("the' & | ! :* moon)", ["both.mp4"]),
    ],
)
def test_searches_are_written_as_on_the_web(media_database: Engine, add: AddFilm, asked: str, found: list[str]) -> None:
    add("moon.mp4", "A trip to a moon.")
    add("mars.mp4", "A trip to mars.")
    add("both.mp4", "Mars or the moon.")

    assert sorted(names(look(media_database, asked, Kind.SPEECH))) == found


def test_text_from_media_stays_as_it_is_whatever_it_holds(media_database: Engine, add: AddFilm) -> None:
    said = "«moon» <script>alert('moon')</script> <b class=x>moon</b> [[moon]] &amp; a\\b 100%"
    add("moon.mp4", said, screen=said)

    (asset,) = look(media_database, "moon").assets

    assert {hit.kind for hit in asset.hits} == {Kind.SPEECH, Kind.SCREEN}
    for hit in asset.hits:
        assert told(hit) == said
        assert set(marked(hit)) == {"moon"}


def test_everything_is_searched_unless_a_kind_is_asked_for(media_database: Engine, add: AddFilm) -> None:
    spoken = Entity(segment_index=0, start=11, end=20, text="Doggerland", label="LOC")
    add("said.mp4", "This is a dog.")
    add("seen.mp4", "Nothing.", label="dog")
    add("read.mp4", "Nothing.", screen="BEWARE OF THE DOG")
    add("named.mp4", "We went to Doggerland.", entities=(spoken,))

    def found(kind: Kind) -> dict[str, list[Kind]]:
        return {asset.card.name: list(asset.counts) for asset in look(media_database, "dog", kind).assets}

    each = {
        Kind.SPEECH: {"said.mp4": [Kind.SPEECH]},
        Kind.OBJECTS: {"seen.mp4": [Kind.OBJECTS]},
        Kind.SCREEN: {"read.mp4": [Kind.SCREEN]},
        Kind.NAMES: {"named.mp4": [Kind.NAMES]},
    }
    assert {kind: found(kind) for kind in each} == each
    assert found(Kind.EVERYTHING) == {name: kinds for of_kind in each.values() for name, kinds in of_kind.items()}


def test_an_object_is_found_by_its_label_once_for_each_shot(media_database: Engine, add: AddFilm) -> None:
    add("dog.mp4", "Look at him run.", label="dog")
    add("lunch.mp4", "Nothing.", label="hot dog")

    (asset,) = look(media_database, "Dog", Kind.OBJECTS).assets

    assert asset.card.name == "dog.mp4"
    assert [(hit.time_s, told(hit), hit.note) for hit in asset.hits] == [
        (0.0, "dog", "90% sure"),
        (2.0, "dog", "90% sure"),
    ]
    assert asset.hits[0].after == "\N{LEFT DOUBLE QUOTATION MARK}Look at him run.\N{RIGHT DOUBLE QUOTATION MARK}"
    assert names(look(media_database, '"hot dog"', Kind.OBJECTS)) == ["lunch.mp4"]
    assert sorted(names(look(media_database, "hot or bird", Kind.OBJECTS))) == ["lunch.mp4"]
    assert list_labels(media_database) == ["dog", "hot dog", "tie"]


def test_a_name_is_found_by_how_it_begins_and_marked_in_what_was_said(media_database: Engine, add: AddFilm) -> None:
    kennedy = Entity(segment_index=0, start=10, end=17, text="Kennedy", label="PER")
    elsewhere = Entity(segment_index=1, start=0, end=3, text="Kent", label="LOC")
    add("speech.mp4", "President Kennedy spoke.", "He was not in Kent.", entities=(kennedy, elsewhere))

    (asset,) = look(media_database, "ken", Kind.NAMES).assets

    assert [(hit.time_s, told(hit), marked(hit), hit.note) for hit in asset.hits] == [
        (0.0, "President Kennedy spoke.", ["Kennedy"], "PER"),
        (4.0, "He was not in Kent.", ["Kent"], "LOC"),
    ]
    for wildcard in ("k%", "k_n", "%ken", "ken\\"):
        assert names(look(media_database, wildcard, Kind.NAMES)) == []


def test_languages_and_folders_narrow_a_search(media_database: Engine, add: AddFilm) -> None:
    german = add("2024/a.mp4", "The moon.", label="dog")
    add("2024/deep/b.mp4", "The moon.")
    add("2024_b/c.mp4", "The moon.")
    with media_database.begin() as connection:
        connection.execute(text("update transcript set language = 'de' where asset_id = :asset"), {"asset": german})

    def found(**more: Any) -> list[str]:
        return sorted(names(look(media_database, "moon", **more)))

    assert found(language="de") == ["a.mp4"]
    assert found(language="en") == ["b.mp4", "c.mp4"]
    assert found(folder="archive") == ["a.mp4", "b.mp4", "c.mp4"]
    assert found(folder="archive/2024/") == ["a.mp4", "b.mp4"]
    assert found(folder="archive/2024", language="en") == ["b.mp4"]
    assert found(folder="archive/20") == found(folder="archive/%") == found(folder="inbox") == []
    assert names(look(media_database, "dog", Kind.OBJECTS, language="en")) == []
    assert list_languages(media_database) == ["de", "en"]
    assert list_roots(media_database) == ["archive"]


def test_what_is_gone_is_found_and_said_to_be_gone_but_lies_in_no_folder(media_database: Engine, add: AddFilm) -> None:
    add("gone.mp4", "The moon.")
    with media_database.begin() as connection:
        connection.execute(text("update media_location set vanished_at = now()"))

    (asset,) = look(media_database, "moon").assets

    assert (asset.card.place, asset.card.vanished_at is not None) == ("archive/gone.mp4", True)
    assert names(look(media_database, "moon", folder="archive")) == []


def test_what_is_found_in_several_ways_comes_first_then_what_has_more(media_database: Engine, add: AddFilm) -> None:
    add("once.mp4", "A dog.")
    add("often.mp4", "A dog.", "A dog.", "A dog.")
    add("both.mp4", "A dog.", label="dog")

    assert names(look(media_database, "dog")) == ["both.mp4", "often.mp4", "once.mp4"]


def test_pages_follow_on_one_another_newest_first_among_equals(media_database: Engine, add: AddFilm) -> None:
    for number in range(7):
        add(f"{number}.mp4", "A dog.")
    with media_database.begin() as connection:
        connection.execute(
            text(
                "update media_asset as a set first_seen_at = timestamptz '2026-01-01' + "
                "cast(split_part(l.path, '.', 1) as integer) * interval '1 day' from media_location as l "
                "where l.asset_id = a.asset_id"
            )
        )

    pages = [names(look(media_database, "dog", limit=3, offset=offset)) for offset in (0, 3, 6, 9)]

    assert pages == [["6.mp4", "5.mp4", "4.mp4"], ["3.mp4", "2.mp4", "1.mp4"], ["0.mp4"], []]


def test_an_asset_has_no_more_hits_than_asked_for_and_says_how_many_there_are(
    media_database: Engine, add: AddFilm
) -> None:
    asset_id = add("often.mp4", *["A dog."] * 9)

    (asset,) = look(media_database, "dog").assets
    here = search_asset(media_database, Wish("dog"), asset_id, hits=30)

    assert (len(asset.hits), asset.counts) == (5, {Kind.SPEECH: 9})
    assert [hit.time_s for hit in here] == [4.0 * number for number in range(9)]


def test_more_hits_than_are_ranked_are_said_to_be_more(
    media_database: Engine, add: AddFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("often.mp4", *["A dog."] * 9)
    assert not look(media_database, "dog").is_cut
    monkeypatch.setattr(views, "CANDIDATES", 9)

    assert look(media_database, "dog").is_cut


@pytest.mark.parametrize(
    ("asked", "why"), [("-dog -cat", "excluded"), ("!!!", "letters or digits"), ('""', "letters or digits")]
)
def test_a_search_for_nothing_is_refused_with_the_reason(media_database: Engine, asked: str, why: str) -> None:
    with pytest.raises(ChoiceInvalid, match=why):
        look(media_database, asked)


def test_a_search_that_takes_too_long_is_given_up(
    media_database: Engine, add: AddFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("dog.mp4", "A dog.")
    monkeypatch.setattr(views, "TIMEOUT", "1ms")

    with pytest.raises(ChoiceInvalid, match="rarer words"):
        look(media_database, " or ".join(f"word{number}" for number in range(2_000)))


@pytest.mark.parametrize("asked", ["do\0g", "dog \ud800", "dog' or 1=1 --", "x" * 300, "dog " * 70])
def test_no_search_breaks_the_page(media_database: Engine, add: AddFilm, asked: str) -> None:
    add("dog.mp4", "A dog.")

    look(media_database, asked, language="e\0n", folder="archive/\0")
    look(media_database, asked, Kind.NAMES)
