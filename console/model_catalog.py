"""`images/models.toml`: which models there are, where each may come from, and the content it must have."""

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast

from console.registry import Member, Package, Registry
from console.terminal import REPOSITORY, ConsoleError

CATALOG = REPOSITORY / "images" / "models.toml"

Table = Mapping[str, object]

HEX_64 = re.compile(r"[0-9a-f]{64}")


class SourceKind(StrEnum):
    """Where a source's files come from; see the head of `models.toml`."""

    HUB = "hub"
    URL = "url"
    REGISTRY = "registry"
    UNTRAINED = "untrained"


@dataclass(frozen=True)
class ModelFile:
    """A file of a model: `origin` is its address, or its place in a package. `sha256` is of the file."""

    name: str
    sha256: str
    origin: str | Member


@dataclass(frozen=True)
class Source:
    """One place that has a model's files. `revision` names their content, `main` the file that stands for it."""

    kind: SourceKind
    revision: str
    main: str | None
    converter: str | None
    files: tuple[ModelFile, ...]

    @property
    def main_sha256(self) -> str:
        """The main file's SHA-256; empty when there are no files."""
        return next((file.sha256 for file in self.files if file.name == self.main), "")


@dataclass(frozen=True)
class Candidate:
    """A model that can fill a role."""

    role: str
    name: str
    licence: str
    trained: bool
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Role:
    """What a stage asks for by name, and the candidates for it, best first."""

    name: str
    image: str
    required: bool
    candidates: tuple[Candidate, ...]


def read_catalog(path: Path = CATALOG, environment: Mapping[str, str] = os.environ) -> tuple[Role, ...]:
    """The roles in the order of the file. `HF_ENDPOINT` in `environment` replaces the hub's address.

    Raises:
        ConsoleError: the file breaks a rule of its form.
    """
    document = tomllib.loads(path.read_text())
    try:
        hub = environment.get("HF_ENDPOINT") or _text(document, "hub")
        candidates = [_candidate(entry, hub.rstrip("/")) for entry in _tables(document, "candidate")]
        return tuple(
            Role(
                name=name,
                image=_text(role, "image"),
                required=_flag(role, "required"),
                candidates=tuple(candidate for candidate in candidates if candidate.role == name),
            )
            for name, role in cast(Mapping[str, Table], document["roles"]).items()
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConsoleError(f"{path.name} must keep its form, and does not: {error}") from error


def _candidate(entry: Table, hub: str) -> Candidate:
    _only(entry, {"role", "name", "licence", "trained", "source"})
    return Candidate(
        role=_text(entry, "role"),
        name=_text(entry, "name"),
        licence=_text(entry, "licence"),
        trained=_flag(entry, "trained") if "trained" in entry else True,
        sources=tuple(_source(source, hub) for source in _tables(entry, "source")),
    )


def _source(entry: Table, hub: str) -> Source:
    _only(entry, {"kind", "repository", "base", "revision", "main", "converter", "files"})
    kind = SourceKind(_text(entry, "kind"))
    converter = _text(entry, "converter") if "converter" in entry else None
    if kind is SourceKind.UNTRAINED:
        return Source(kind, _text(entry, "revision"), main=None, converter=None, files=())
    main = _text(entry, "main")
    if kind is SourceKind.REGISTRY:
        members = {_text(file, "name"): _member(file) for file in _tables(entry, "files")}
        files = tuple(ModelFile(name, member.sha256, member) for name, member in members.items())
        revision = str(members[main].package)
    else:
        revision = _text(entry, "revision")
        at_hub = kind is SourceKind.HUB
        base = f"{hub}/{_text(entry, 'repository')}/resolve/{revision}" if at_hub else _text(entry, "base")
        files = tuple(_web_file(file, base) for file in _tables(entry, "files"))
    if main not in {file.name for file in files}:
        raise ValueError(f"main must be one of the files: {main} is not")
    return Source(kind, revision, main, converter, files)


def _web_file(entry: Table, base: str) -> ModelFile:
    _only(entry, {"name", "sha256"})
    name = _text(entry, "name")
    return ModelFile(name, _sha256(entry), f"{base}/{name}")


def _member(entry: Table) -> Member:
    _only(entry, {"name", "sha256", "registry", "package", "version", "member"})
    package = Package(Registry(_text(entry, "registry")), _text(entry, "package"), _text(entry, "version"))
    return Member(package, _text(entry, "member") if "member" in entry else None, _sha256(entry))


def _only(entry: Table, known: Collection[str]) -> None:
    unknown = set(entry) - set(known)
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}; known are {sorted(known)}")


def _text(entry: Table, key: str) -> str:
    value = entry[key]
    if not isinstance(value, str) or not value:
        raise TypeError(f"{key} must be text, is {value!r}")
    return value


def _flag(entry: Table, key: str) -> bool:
    value = entry[key]
    if not isinstance(value, bool):
        raise TypeError(f"{key} must be true or false, is {value!r}")
    return value


def _sha256(entry: Table) -> str:
    value = _text(entry, "sha256")
    if not HEX_64.fullmatch(value):
        raise ValueError(f"sha256 must be 64 lower-case hex digits, is {value!r}")
    return value


def _tables(entry: Table, key: str) -> list[Table]:
    value = entry[key]
    if not isinstance(value, list):
        raise TypeError(f"{key} must be a list of tables, is {value!r}")
    return value
