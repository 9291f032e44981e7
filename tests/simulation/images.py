"""The images of a simulated deployment's stages: built by the first engine, handed to the second."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from console.engine import docker, docker_environment, image_id
from console.images import IMAGES, LEFT_OUT, MODELS_LABEL, STAGE_CONTRACT, build_images
from console.terminal import LOGS, ConsoleError, run, step
from stage_contract.models import STAGES_LABEL, ModelRef
from stage_contract.vocabulary import Stage
from tests.simulation.engine import SimulatedEngine

STAGE_FOLDER = Path(__file__).resolve().parent / "stage"
STAGE_VERSION = "simulated-1"
BASE_IMAGE = "nightreel/base:cpu"
BUILT_AS = "nightreel/simulated-{name}:cpu"


@dataclass(frozen=True)
class SimulatedImage:
    """One image: the stages it names, the models it claims, and the tags that it gets on the second engine."""

    name: str
    stages: tuple[Stage, ...]
    variants: tuple[str, ...]
    models: tuple[ModelRef, ...] = ()

    @property
    def built_as(self) -> str:
        """Its tag on the first engine, where it must not take the place of the real image."""
        return BUILT_AS.format(name=self.name)

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags on the second engine: what the operator asks for."""
        return tuple(f"nightreel/{self.name}:{variant}" for variant in self.variants)

    @property
    def labels(self) -> dict[str, str]:
        """As the real image's."""
        return {
            STAGES_LABEL: json.dumps(dict.fromkeys(self.stages, STAGE_VERSION)),
            MODELS_LABEL: json.dumps([model.model_dump() for model in self.models]),
        }


def _model(role: str, name: str) -> ModelRef:
    return ModelRef(role=role, name=name, revision="simulated", sha256="", licence="none", trained=False)


# Models that the table of needs knows by name, so that stages ask for as much VRAM as the real ones.
SIMULATED_IMAGES = (
    SimulatedImage("media", (Stage.PROBE, Stage.EXTRACT), ("cpu",)),
    SimulatedImage("audio", (Stage.TRANSCRIBE,), ("cpu", "cuda"), (_model("whisper", "whisper-large-v3"),)),
    SimulatedImage(
        "vision",
        (Stage.ANALYZE,),
        ("cpu", "cuda"),
        (_model("clip", "clip-vit-b-32-laion2b"), _model("detector", "yolov8n")),
    ),
    SimulatedImage("nlp", (Stage.ENRICH,), ("cpu",)),
)


def provide_images(engine: SimulatedEngine, folder: Path) -> None:
    """Leave the engine with every stage's image; what it holds already is not handed over again.

    `folder` is where the build context is put together.

    Raises:
        ConsoleError: an image cannot be built or handed over.
    """
    build_simulated_images(SIMULATED_IMAGES, folder)
    missing = [image for image in SIMULATED_IMAGES if engine.image_id(image.tags[0]) != image_id(image.built_as)]
    if missing:
        with step("hand the stage images to the simulated host"):
            _hand_over([image.built_as for image in missing], engine)
            for image in missing:
                for tag in image.tags:
                    engine.docker("tag", image.built_as, tag)


def build_simulated_images(images: Sequence[SimulatedImage], folder: Path) -> None:
    """Build them on the first engine. `folder` is where the build context is put together.

    Raises:
        ConsoleError: an image cannot be built.
    """
    if image_id(BASE_IMAGE) is None:
        build_images(["base"])
    context = _assemble_context(folder / "context")
    for image in images:
        run(
            _build_command(image, context),
            log=LOGS / f"image-simulated-{image.name}.log",
            title=f"build {image.built_as}",
            environment=docker_environment(),
        )


def _assemble_context(context: Path) -> Path:
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(STAGE_FOLDER, context, ignore=LEFT_OUT)
    shutil.copytree(IMAGES / "base" / STAGE_CONTRACT, context / STAGE_CONTRACT, ignore=shutil.ignore_patterns("*.pyc"))
    models = [model.model_dump() for image in SIMULATED_IMAGES for model in image.models]
    (context / "models.json").write_text(json.dumps(models))
    return context


def _build_command(image: SimulatedImage, context: Path) -> list[str | Path]:
    labels = [part for name, value in image.labels.items() for part in ("--label", f"{name}={value}")]
    return [
        *("docker", "build", "--progress", "plain", "--build-arg", f"BASE_IMAGE={BASE_IMAGE}"),
        *labels,
        *("--tag", image.built_as, context),
    ]


def _hand_over(tags: Sequence[str], engine: SimulatedEngine) -> None:
    with subprocess.Popen(
        ["docker", "save", *tags], env=docker_environment(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as saving:
        loaded = subprocess.run(
            ["docker", "load"], env=engine.environment(), stdin=saving.stdout, capture_output=True, text=True
        )
    if saving.returncode or loaded.returncode:
        raise ConsoleError(f"{', '.join(tags)} must be handed to the simulated host: {loaded.stderr.strip()}")


def remove_images() -> None:
    """Take the simulated images from the first engine."""
    held = [image.built_as for image in SIMULATED_IMAGES if image_id(image.built_as)]
    if held:
        docker("image", "rm", *held)
