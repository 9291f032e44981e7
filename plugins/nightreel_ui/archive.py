"""The archive's pages: search over what was found, an asset with its player and transcript, and the files of both."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response

from nightreel_ui.access import MAY_SEE
from nightreel_ui.database import MediaDatabase
from nightreel_ui.links import airflow_base
from nightreel_ui.media_files import (
    CHECKED_EACH_TIME,
    FOR_GOOD,
    OpenFileResponse,
    has_media,
    open_below,
    open_media,
)
from nightreel_ui.page import page
from nightreel_ui.paging import cut, offset
from nightreel_ui.thumbnails import Thumbnail, thumbnail_of
from operators import settings
from operators.errors import ChoiceInvalid
from operators.views import asset_list, assets, search
from operators.views.asset_list import AssetCard
from operators.views.playback import playback
from operators.views.search import FoundAsset, Hit, Kind, Wish
from stage_contract.outputs import AUDIO_FILE, CONTACT_SHEET_FILE, SRT_FILE, TRANSCRIPT_FILE, VTT_FILE
from stage_contract.result import result_dir
from stage_contract.vocabulary import Stage

PATH = "/archive"
ASSETS = 10
"""Found assets on a page."""

HITS = 3
"""Of each kind, where everything is searched."""

HITS_OF_KIND = 8
HITS_OF_ASSET = 30
NEWEST = 12
LINES = 1_000
"""Lines of a transcript on a page: an hour of speech and more."""

LONGEST_SEARCH = 300
KINDS = {
    Kind.EVERYTHING: "everything",
    Kind.SPEECH: "speech",
    Kind.OBJECTS: "objects",
    Kind.NAMES: "names",
    Kind.SCREEN: "text on screen",
}
"""What a person calls them."""

INLINE = {CONTACT_SHEET_FILE: "image/jpeg", AUDIO_FILE: "audio/flac", VTT_FILE: "text/vtt; charset=utf-8"}
"""Files that pages show; all others are only downloaded."""

DOWNLOADS = {SRT_FILE: "Subtitles (SRT)", VTT_FILE: "Subtitles (VTT)", TRANSCRIPT_FILE: "Transcript (JSON)"}

router = APIRouter(prefix=PATH, dependencies=[MAY_SEE])

Text = Annotated[str, Query(alias="q", max_length=LONGEST_SEARCH)]
In = Annotated[Kind, Query(alias="in")]
Language = Annotated[str, Query(max_length=40)]
Folder = Annotated[str, Query(max_length=1_000)]
PageNumber = Annotated[int, Query(alias="page", ge=1, le=1_000)]
Seconds = Annotated[float | None, Query(alias="t", ge=0, le=1e7, allow_inf_nan=False)]


@dataclass(frozen=True)
class ShownHit:
    """A hit with the picture nearest to it."""

    hit: Hit
    thumbnail: Thumbnail | None


@dataclass(frozen=True)
class ShownAsset:
    """A found asset with its hits as they are shown."""

    found: FoundAsset
    hits: tuple[ShownHit, ...]


@router.get("", response_class=HTMLResponse)
def search_archive(
    request: Request,
    database: MediaDatabase,
    text: Text = "",
    kind: In = Kind.EVERYTHING,
    language: Language = "",
    folder: Folder = "",
    number: PageNumber = 1,
) -> HTMLResponse:
    """The search box, and what was found; without a search the newest assets."""
    wish = Wish(text.strip(), kind, language or None, folder.strip() or None)
    context = {
        "wish": wish,
        "kinds": KINDS,
        "languages": search.list_languages(database),
        "roots": search.list_roots(database),
        "query": _query(wish),
    }
    if not wish.text or kind is Kind.OBJECTS:
        context["labels"] = search.list_labels(database)
    if wish.text:
        context |= _found(request, database, wish, number)
    else:
        newest = asset_list.newest(database, NEWEST)
        context |= {
            "totals": asset_list.totals(database),
            "newest": [(card, _middle(request, card)) for card in newest],
        }
    return page(request, "archive.html", context)


@router.get("/asset/{asset_id}", response_class=HTMLResponse)
def show_asset(
    request: Request,
    database: MediaDatabase,
    asset_id: str,
    time_s: Seconds = None,
    text: Text = "",
    kind: In = Kind.EVERYTHING,
    language: Language = "",
    folder: Folder = "",
    number: Annotated[int | None, Query(alias="lines", ge=1, le=1_000)] = None,
) -> HTMLResponse:
    """All about one asset; the player and the transcript stand at `t`. The search is the one that led here."""
    asset = assets.read_asset(database, asset_id)
    if asset is None:
        raise HTTPException(404, "the catalog has no such asset; search for it in the archive")
    number = number or assets.utterances_before(database, asset_id, time_s or 0) // LINES + 1
    lines, place = cut(assets.read_utterances(database, asset_id, LINES + 1, offset(number, LINES)), number, LINES)
    wish = Wish(text.strip(), kind, language or None, folder.strip() or None)
    context = {
        "asset": asset,
        "time_s": time_s or 0,
        "lines": lines,
        "place": place,
        "wish": wish,
        "kinds": KINDS,
        "query": _query(wish) if wish.text else {},
        "airflow": airflow_base(request),
        "here": f"{request.scope.get('root_path', '')}{PATH}/asset/{asset_id}",
    }
    return page(request, "archive_asset.html", context | _player(asset) | _found_here(request, database, wish, asset))


@router.get("/asset/{asset_id}/media")
def play(database: MediaDatabase, asset_id: str) -> Response:
    """The asset's own file, where a browser plays it, from a place where it still is as it was hashed."""
    probe, places = assets.read_file(database, asset_id)
    how = playback(probe)
    file = open_media(settings.media_roots(), places) if how.element else None
    if file is None:
        raise HTTPException(404, "there is no such file to play")
    return OpenFileResponse(file, how.content_type, CHECKED_EACH_TIME)


@router.get("/asset/{asset_id}/file/{stage}/{fingerprint}/{name}")
def give_file(
    database: MediaDatabase, asset_id: str, stage: Stage, fingerprint: str, name: str, download: bool = False
) -> Response:
    """One file of an asset's current result. Only names that the result lists can be had."""
    state = next(state for state in assets.read_stages(database, asset_id) if state.stage is stage)
    listed = next((file for file in state.files if file.name == name), None)
    known = listed is not None and state.fingerprint == fingerprint
    file = open_below(result_dir(settings.RESULTS_MOUNT, asset_id, stage, fingerprint), name) if known else None
    if file is None:
        raise HTTPException(404, "this asset has no such file now")
    if name in INLINE and not download:
        return OpenFileResponse(file, INLINE[name], FOR_GOOD)
    places = assets.read_places(database, asset_id)
    return OpenFileResponse(file, "application/octet-stream", FOR_GOOD, _file_name(places, asset_id, name))


def _query(wish: Wish) -> dict[str, str]:
    """The search as a part of an address."""
    given = {"q": wish.text, "in": wish.kind.value, "language": wish.language, "folder": wish.folder}
    return {name: value for name, value in given.items() if value}


def _found(request: Request, database: MediaDatabase, wish: Wish, number: int) -> dict[str, Any]:
    hits = HITS if wish.kind is Kind.EVERYTHING else HITS_OF_KIND
    try:
        found = search.search(database, wish, ASSETS + 1, offset(number, ASSETS), hits)
    except ChoiceInvalid as refusal:
        return {"refusal": str(refusal)}
    shown, place = cut(found.assets, number, ASSETS)
    return {
        "found": [ShownAsset(each, _with_pictures(request, each.card, each.hits)) for each in shown],
        "place": place,
        "is_cut": found.is_cut,
        "most": search.CANDIDATES,
    }


def _found_here(request: Request, database: MediaDatabase, wish: Wish, asset: assets.Asset) -> dict[str, Any]:
    if not wish.text:
        return {}
    try:
        hits = search.search_asset(database, wish, asset.asset_id, HITS_OF_ASSET)
    except ChoiceInvalid as refusal:
        return {"refusal": str(refusal)}
    (card,) = asset_list.describe(database, [asset.asset_id])
    return {"hits": _with_pictures(request, card, hits)}


def _with_pictures(request: Request, card: AssetCard, hits: tuple[Hit, ...]) -> tuple[ShownHit, ...]:
    return tuple(ShownHit(hit, thumbnail_of(request, card.asset_id, card.sheet, hit.time_s)) for hit in hits)


def _middle(request: Request, card: AssetCard) -> Thumbnail | None:
    return thumbnail_of(request, card.asset_id, card.sheet, (card.duration_s or 0) / 2)


def _player(asset: assets.Asset) -> dict[str, Any]:
    """What the page plays: the file itself, or the sound that was extracted, or nothing; and why."""
    how = playback(asset.probe)
    is_there = has_media(settings.media_roots(), asset.places)
    files = {file.name: (state, file) for state in asset.stages for file in state.files}
    return {
        "how": how,
        "is_there": is_there,
        "files": files,
        "downloads": {name: title for name, title in DOWNLOADS.items() if name in files},
        "names": {"sheet": CONTACT_SHEET_FILE, "sound": AUDIO_FILE, "captions": VTT_FILE},
    }


def _file_name(places: tuple[assets.Place, ...], asset_id: str, name: str) -> str:
    stem = PurePosixPath(places[0].path).stem if places else asset_id[:12]
    return f"{stem}{PurePosixPath(name).suffix}" if name in (SRT_FILE, VTT_FILE) else f"{stem}.{name}"
