"""Contexts decide builds: an image is built when its content or its base changed, and only then."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from console import content, images, models, wheelhouse
from console.engine import docker, docker_succeeds, image_id, image_label
from console.images import BuiltImage, Image, Ingredients, assemble_context, build_images, context_hash
from console.terminal import ConsoleError
from stage_contract.models import MODELS_LABEL as CONTRACT_MODELS_LABEL
from stage_contract.models import parse_models

BASE_DOCKERFILE = "ARG DISTRIBUTION_IMAGE\nFROM ${DISTRIBUTION_IMAGE}\nCOPY settings.txt /\n"
PROBE_DOCKERFILE = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG VARIANT\nRUN echo ${VARIANT} > /variant\nCOPY note.txt /\n"
PREFIX = "nightreel-console-test"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with a base and one stage image, built under a name of the test's own."""
    for name, dockerfile in {"base": BASE_DOCKERFILE, "probe": PROBE_DOCKERFILE}.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "Dockerfile").write_text(dockerfile)
    base = tmp_path / "images" / "base"
    (base / "settings.txt").write_text("one\n")
    (base / "stage_contract").mkdir()
    (base / "stage_contract" / "request.py").write_text("one = 1\n")
    probe = tmp_path / "images" / "probe"
    (probe / "note.txt").write_text("one\n")
    (probe / "probe_stage").mkdir()
    (probe / "probe_stage" / "__init__.py").touch()
    (probe / "requirements.cpu.lock").write_text("# nothing\n")
    monkeypatch.setattr(images, "IMAGES", tmp_path / "images")
    monkeypatch.setattr(images, "CONTEXTS", tmp_path / "context")
    monkeypatch.setattr(images, "TAG_PREFIX", PREFIX)
    monkeypatch.setattr(models, "MODELS", tmp_path / "models")
    monkeypatch.setattr(wheelhouse, "WHEELS", tmp_path / "wheels")
    monkeypatch.setattr(content, "REMEMBERED", tmp_path / "hashes.json")
    yield tmp_path
    for name in ("probe", "base"):
        docker_succeeds("image", "rm", "--force", f"{PREFIX}/{name}:cpu")


def rebuilt(built: tuple[BuiltImage, ...]) -> list[str]:
    return [image.tag.removeprefix(f"{PREFIX}/") for image in built if image.build_s is not None]


def test_an_image_is_built_again_only_when_its_context_or_its_base_changed(repository: Path) -> None:
    assert rebuilt(build_images()) == ["base:cpu", "probe:cpu"]
    assert rebuilt(build_images()) == []

    earlier = image_id(f"{PREFIX}/probe:cpu")
    (repository / "images" / "probe" / "note.txt").write_text("two\n")
    assert rebuilt(build_images()) == ["probe:cpu"]
    assert image_id(earlier or "") is None, "the image that lost its tag should be gone"
    assert docker("run", "--rm", f"{PREFIX}/probe:cpu", "cat", "/note.txt", "/variant") == "two\ncpu"

    (repository / "images" / "base" / "settings.txt").write_text("two\n")
    assert rebuilt(build_images(["probe"])) == ["base:cpu", "probe:cpu"]


def test_an_edit_of_the_stage_contract_builds_the_stages_again_and_not_their_base(repository: Path) -> None:
    build_images()
    (repository / "images" / "base" / "stage_contract" / "request.py").write_text("two = 2\n")
    assert rebuilt(build_images()) == ["probe:cpu"]


def test_a_stage_image_tells_its_models_in_the_label_that_the_contract_reads(repository: Path) -> None:
    build_images(["probe"])
    assert images.MODELS_LABEL == CONTRACT_MODELS_LABEL
    assert parse_models(image_label(f"{PREFIX}/probe:cpu", CONTRACT_MODELS_LABEL)) == {}
    assert image_label(f"{PREFIX}/base:cpu", CONTRACT_MODELS_LABEL) == ""


def test_what_the_next_image_needs_and_cannot_be_had_stops_the_build_with_its_reason(repository: Path) -> None:
    (repository / "images" / "probe" / "requirements.cpu.lock").write_text("annotated-types==0.0.0\n")
    with pytest.raises(ConsoleError, match=r"what .*/probe:cpu needs must be fetched(.|\n)*must have a wheel"):
        build_images()


def test_an_image_without_the_wanted_variant_is_taken_in_the_one_it_has(repository: Path) -> None:
    assert images.find_image("probe", "cuda") == Image("probe", "cpu")
    (repository / "images" / "probe" / "requirements.cuda.lock").touch()
    assert images.find_image("probe", "cuda") == Image("probe", "cuda")
    locks = [lock.name for lock in images.find_locks(Image("probe", "cuda"))]
    assert locks == ["requirements.cuda.lock"]


def test_an_unknown_image_is_told_with_the_known_ones(repository: Path) -> None:
    with pytest.raises(ConsoleError, match="must be one of base, probe: prob is none"):
        images.find_image("prob", "cpu")


def test_the_base_comes_first_and_what_is_made_elsewhere_is_left_alone() -> None:
    names = images.image_names()
    assert names[0] == "base"
    assert {"media", "audio", "vision", "nlp", "airflow"} <= set(names)
    assert not {"postgres", "distribution", "prometheus"} & set(names)


def test_the_context_holds_sources_wheels_and_models_by_hard_links(repository: Path) -> None:
    wheels, fetched = repository / "w", repository / "m"
    wheels.mkdir()
    (wheels / "some-1.0-py3-none-any.whl").write_bytes(b"wheel")
    (wheels / ".complete").touch()
    (fetched / "whisper").mkdir(parents=True)
    (fetched / "models.json").write_text("[]")
    (fetched / "whisper" / "model.bin").write_bytes(b"weights")
    (repository / "images" / "probe" / "README.md").write_text("words\n")
    context, _ = assemble_context(Image("probe", "cpu"), Ingredients((wheels,), fetched), "base")
    assert {str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()} == {
        "Dockerfile",
        "note.txt",
        "probe_stage/__init__.py",
        "stage_contract/request.py",
        "wheels/requirements.cpu.lock",
        "wheels/some-1.0-py3-none-any.whl",
        "models/models.json",
        "models/whisper/model.bin",
    }
    assert (context / "models/whisper/model.bin").stat().st_ino == (fetched / "whisper" / "model.bin").stat().st_ino


def test_the_context_holds_the_lock_where_the_build_looks_for_it_without_any_wheel(repository: Path) -> None:
    (repository / "images" / "probe" / "requirements.cuda.lock").touch()
    context, _ = assemble_context(Image("probe", "cuda"), Ingredients((), None), "base")
    assert [path.name for path in (context / "wheels").iterdir()] == ["requirements.cuda.lock"]
    assert not list(context.glob("*.lock")), "an edit of the other variant's lock should not build this one again"


@pytest.mark.parametrize("name", images.image_names())
def test_no_layer_depends_on_more_of_the_context_than_it_uses(name: str) -> None:
    dockerfile = (images.IMAGES / name / "Dockerfile").read_text()
    mounts = re.findall(r"--mount=type=bind,(\S+)", dockerfile)
    sources = {dict(option.split("=") for option in mount.split(",")).get("source") for mount in mounts}
    folders = {source for source in sources if not str(source).endswith(".py")}
    assert folders <= {"wheels", "models", "converters"}, "a whole folder of code would build this layer again often"
    assert not re.search(r"^(COPY|ADD)\s.*\s\.\s", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in images.image_names() if Image(name, "cpu").is_stage])
def test_a_stage_image_takes_its_code_after_all_that_is_slow_to_build(name: str) -> None:
    dockerfile = (images.IMAGES / name / "Dockerfile").read_text()
    final = dockerfile[dockerfile.rindex("\nFROM ") :]
    code = final.index("COPY stage_contract /opt/nightreel/stage_contract")
    assert final.index(f"COPY {name}_stage /opt/nightreel/{name}_stage") > code
    for slow in ("--mount=", "pip install", "apt-get", "COPY --from="):
        assert final.rfind(slow) < code, slow


def test_the_context_hash_follows_content_names_modes_and_the_base(tmp_path: Path) -> None:
    file = tmp_path / "run.sh"
    file.write_text("one")
    seen = [context_hash(tmp_path, "base"), context_hash(tmp_path, "another base")]
    file.write_text("two")
    seen.append(context_hash(tmp_path, "base"))
    file.chmod(0o755)
    seen.append(context_hash(tmp_path, "base"))
    file.rename(tmp_path / "start.sh")
    seen.append(context_hash(tmp_path, "base"))
    assert len(set(seen)) == len(seen)
    assert context_hash(tmp_path, "base") == seen[-1]


def test_the_command_line_refuses_an_unknown_image() -> None:
    told = subprocess.run(
        [".venv/bin/python", "-m", "console.images", "--fetch-only", "nonesuch"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert "an image must be one of base, " in told.stderr
