"""Builds the images: `python -m console.images [--variant cuda] [NAME ...]`, all of them without names.

Without a variant those for the CPU are built and, where GPUs are configured, those for GPUs too.

For each image a build context is put together in `build/context/<name>-<variant>/` by hard links: what
`images/<name>/` holds, `wheels/` with the locks and, for a stage, `models/` and `stage_contract/`, which the
GPU agent has too. Its hash is a label of the image, so an image whose context and base did not change is
not built again.
Images are built one after another; what the next one needs is fetched meanwhile.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from rich.table import Table

from console.base_image import CA_BUNDLE, ensure_distribution_image
from console.content import ContentHashes, link_file
from console.engine import (
    docker,
    docker_environment,
    docker_succeeds,
    engine_socket,
    image_id,
    image_label,
    stage_socket,
)
from console.exclusive import exclusive
from console.models import MANIFEST_FILE, fetch_models
from console.settings import configured_gpus
from console.terminal import BUILD, LOGS, REPOSITORY, ConsoleError, console, guard, last_line, progress, run, say, tail
from console.wheelhouse import fetch, refuse_cuda_builds

IMAGES = REPOSITORY / "images"
CONTEXTS = BUILD / "context"
TAG_PREFIX = "nightreel"
CONTEXT_LABEL = "nightreel.context"
MODELS_LABEL = "nightreel.models"

VARIANTS = ("cpu", "cuda")
BASE = "base"
AIRFLOW = "airflow"
GPU_AGENT = "gpu_agent"
# These are not built from a context of ours; `console.base_image` and `console.monitoring` see to them.
MADE_ELSEWHERE = frozenset({"distribution", "postgres", "prometheus"})
# Lies in the base image's folder, and is part of each stage image, and of the GPU agent's, instead.
STAGE_CONTRACT = "stage_contract"
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.md", "*.lock", STAGE_CONTRACT)
BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class Image:
    """An image to build. `variant` is one that it has: `cpu` where there is no other."""

    name: str
    variant: str

    @property
    def tag(self) -> str:
        """What the engine knows it by."""
        return f"{TAG_PREFIX}/{self.name}:{self.variant}"

    @property
    def directory(self) -> Path:
        """Its folder in the repository."""
        return IMAGES / self.name

    @property
    def is_stage(self) -> bool:
        """Whether it holds a stage, and so may hold models."""
        return (self.directory / f"{self.name}_stage").is_dir()

    @property
    def holds_contract(self) -> bool:
        """Whether the stage contract is in it: in stages, and in the GPU agent, whose answers it describes."""
        return self.is_stage or self.name == GPU_AGENT


@dataclass(frozen=True)
class Ingredients:
    """What was fetched for an image: folders of wheels, and of models where it is a stage."""

    wheels: tuple[Path, ...]
    models: Path | None


@dataclass(frozen=True)
class Foundation:
    """What an image stands on: the build argument that names it, its tag, and a hash of its content."""

    argument: str
    tag: str
    content: str


@dataclass(frozen=True)
class BuiltImage:
    """An image that the engine now holds. `build_s` is null when it was there already."""

    tag: str
    size_mb: int
    models: tuple[str, ...]
    build_s: float | None


def image_names() -> tuple[str, ...]:
    """Every image of the repository, the base first, for it is what the others stand on."""
    found = sorted(path.parent.name for path in IMAGES.glob("*/Dockerfile"))
    return (BASE, *(name for name in found if name != BASE and name not in MADE_ELSEWHERE))


def find_image(name: str, variant: str) -> Image:
    """The image in the wanted variant, or in the one it has.

    Raises:
        ConsoleError: there is no such image.
    """
    if name not in image_names():
        raise ConsoleError(f"an image must be one of {', '.join(image_names())}: {name} is none")
    has_it = (IMAGES / name / f"requirements.{variant}.lock").exists()
    return Image(name, variant if has_it else "cpu")


def needed_variants() -> tuple[str, ...]:
    """The variants that this deployment needs on this engine: those for GPUs too where GPUs are configured.

    Where the environment names another engine for the stages, that one has to hold their images for GPUs.

    Raises:
        ConsoleError: `NIGHTREEL_GPU_DEVICES` breaks its rule.
    """
    has_gpu_work = bool(configured_gpus()) and stage_socket().resolve() == engine_socket().resolve()
    return VARIANTS if has_gpu_work else VARIANTS[:1]


def build_images(names: Sequence[str] = (), variants: Sequence[str] = ("cpu",)) -> tuple[BuiltImage, ...]:
    """Build the named images, or all, and the base first; those that did not change are left as they are.

    Each is built in the wanted variants that it has.

    Raises:
        ConsoleError: an image is unknown, something could not be fetched, or a build failed.
    """
    wanted = [name for name in names or image_names() if name != BASE]
    images = list(dict.fromkeys(find_image(name, variant) for variant in variants for name in (BASE, *wanted)))
    with exclusive("building images"):
        return _build_all(images)


def _build_all(images: Sequence[Image]) -> tuple[BuiltImage, ...]:
    refuse_cuda_builds(lock for image in images for lock in find_locks(image))
    distribution = ensure_distribution_image()
    foundation = Foundation("DISTRIBUTION_IMAGE", distribution, image_id(distribution) or "")
    fetch_ingredients(images[0])
    built = []
    for image, following in zip_longest(images, images[1:]):
        with _fetching(following):
            context, digest = assemble_context(image, fetch_ingredients(image), foundation.content)
            built.append(_build(image, context, digest, foundation))
        if image.name == BASE:
            foundation = Foundation("BASE_IMAGE", image.tag, digest)
    return tuple(built)


def fetch_ingredients(image: Image) -> Ingredients:
    """Fetch an image's wheels and models, or find them where an earlier run left them.

    Raises:
        ConsoleError: something could not be fetched.
    """
    wheels = tuple(fetch(lock, image.name if lock.suffix == ".txt" else None) for lock in find_locks(image))
    return Ingredients(wheels, fetch_models(image.name) if image.is_stage else None)


def find_locks(image: Image) -> tuple[Path, ...]:
    """The locks that an image's build installs from: those of its variant and those of every variant."""
    if image.name == AIRFLOW:
        return (REPOSITORY / "requirements.txt",)
    others = {f"requirements.{variant}.lock" for variant in VARIANTS if variant != image.variant}
    return tuple(lock for lock in sorted(image.directory.glob("*.lock")) if lock.name not in others)


def assemble_context(image: Image, ingredients: Ingredients, foundation: str) -> tuple[Path, str]:
    """Put the build context together; returns its folder and its hash, 64 hex digits.

    The hash covers every file's name, content and whether it can be executed, and `foundation`, which
    names the content of the image that this one stands on.
    """
    context = CONTEXTS / f"{image.name}-{image.variant}"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(image.directory, context, copy_function=_link, ignore=LEFT_OUT)
    if image.holds_contract:
        shutil.copytree(IMAGES / BASE / STAGE_CONTRACT, context / STAGE_CONTRACT, copy_function=_link, ignore=LEFT_OUT)
    for lock in find_locks(image):
        # Beside the wheels: a build mounts wheels/ alone, and so installs again only when they or the lock change.
        link_file(lock, context / "wheels" / lock.name)
    for directory in ingredients.wheels:
        for wheel in directory.glob("*.whl"):
            link_file(wheel, context / "wheels" / wheel.name)
    if ingredients.models:
        shutil.copytree(ingredients.models, context / "models", copy_function=_link)
    return context, context_hash(context, foundation)


def context_hash(context: Path, foundation: str) -> str:
    """The hash that `assemble_context` returns."""
    hashes = ContentHashes()
    whole = hashlib.sha256(foundation.encode())
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        executable = "x" if path.stat().st_mode & 0o111 else "-"
        whole.update(f"{path.relative_to(context)}\0{executable}\0{hashes.sha256(path)}\n".encode())
    hashes.save()
    return whole.hexdigest()


def _link(source: str, target: str) -> None:
    link_file(Path(source), Path(target))


def _build(image: Image, context: Path, digest: str, foundation: Foundation) -> BuiltImage:
    manifest = context / "models" / MANIFEST_FILE
    models = json.loads(manifest.read_text()) if manifest.exists() else []
    build_s = None
    earlier = image_id(image.tag)
    if earlier is None or image_label(image.tag, CONTEXT_LABEL) != digest:
        started_s = time.monotonic()
        run(
            build_command(image, context, digest, foundation),
            log=LOGS / f"image-{image.name}-{image.variant}.log",
            title=f"build {image.tag}",
            environment=docker_environment(),
        )
        build_s = time.monotonic() - started_s
        _remove_if_nameless(earlier)
    size_mb = int(docker("image", "inspect", "--format", "{{.Size}}", image.tag)) // BYTES_PER_MB
    return BuiltImage(image.tag, size_mb, tuple(f"{model['role']}={model['name']}" for model in models), build_s)


def _remove_if_nameless(image: str | None) -> None:
    """Free the disk of an image that lost its tag; one that a container still uses stays."""
    if image and image_id(image) and docker("image", "inspect", "--format", "{{len .RepoTags}}", image) == "0":
        docker_succeeds("image", "rm", image)


def build_command(image: Image, context: Path, digest: str, foundation: Foundation) -> list[str | Path]:
    """The `docker build` of one image; `digest` becomes its label.

    The wheels are complete, so pip is kept from asking an index.
    """
    arguments = (f"{foundation.argument}={foundation.tag}", f"VARIANT={image.variant}", "PIP_NO_INDEX=1")
    labels = [f"{CONTEXT_LABEL}={digest}"]
    manifest = context / "models" / MANIFEST_FILE
    if manifest.exists():
        labels.append(f"{MODELS_LABEL}={json.dumps(json.loads(manifest.read_text()), separators=(',', ':'))}")
    return [
        *("docker", "build", "--progress", "plain"),
        *(part for argument in arguments for part in ("--build-arg", argument)),
        *(part for label in labels for part in ("--label", label)),
        *(("--secret", f"id=ca,src={CA_BUNDLE}") if CA_BUNDLE.exists() else ()),
        *("--tag", image.tag, context),
    ]


@contextmanager
def _fetching(image: Image | None) -> Iterator[None]:
    """Fetch what an image needs in a process of its own while the block runs; ends when both have.

    Raises:
        ConsoleError: it could not be fetched.
    """
    if image is None:
        yield
        return
    log = LOGS / f"fetch-{image.name}-{image.variant}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    process = multiprocessing.get_context("fork").Process(target=_fetch_into_log, args=(image, log))
    process.start()
    try:
        yield
        with progress(f"fetch what {image.tag} needs", lambda: last_line(log) if log.exists() else ""):
            process.join()
    finally:
        if process.is_alive() and process.pid:
            # Its own group, so that pip or npm end with it.
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                process.terminate()
            process.join()
    if process.exitcode != 0:
        raise ConsoleError(f"what {image.tag} needs must be fetched, and was not:\n" + "\n".join(tail(log, 30)))
    for line in log.read_text().splitlines():
        if not line.startswith("  …"):
            say(line)


def _fetch_into_log(image: Image, log: Path) -> None:
    os.setsid()
    with log.open("wb") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
    sys.exit(guard(lambda: _fetch_all([image])))


def _fetch_all(images: Iterable[Image]) -> None:
    for image in images:
        fetch_ingredients(image)


def main() -> None:
    """Build images and tell what there is now."""
    parser = argparse.ArgumentParser(prog="python -m console.images", description="Build the images.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which images; all when none is named")
    parser.add_argument(
        "--variant",
        choices=VARIANTS,
        help="where an image has no such variant: cpu; not given: cpu, and cuda too where GPUs are configured",
    )
    parser.add_argument("--fetch-only", action="store_true", help="fetch wheels and models, build nothing")
    arguments = parser.parse_args()
    variants = (arguments.variant,) if arguments.variant else needed_variants()
    if arguments.fetch_only:
        wanted = (find_image(name, variant) for variant in variants for name in arguments.names or image_names())
        with exclusive("fetching"):
            _fetch_all(dict.fromkeys(wanted))
        return
    table = Table("image", "size", "models", "built in", box=None)
    for image in build_images(arguments.names, variants):
        built = "unchanged" if image.build_s is None else f"{image.build_s:.0f} s"
        table.add_row(image.tag, f"{image.size_mb} MB", "\n".join(image.models), built)
    console.print(table)


if __name__ == "__main__":
    sys.exit(guard(main))
