"""A deployment with the demo's films, for the tests of this folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.demo_media import DemoFile, make_demo_media
from console.images import build_images
from tests.deployment import Deployment, deployed, open_to_all, own_settings


@dataclass(frozen=True)
class DemoDeployment(Deployment):
    """The running stack, and the demo's films in its archive."""

    demo_files: tuple[DemoFile, ...]

    @property
    def demo_locations(self) -> list[str]:
        """The demo's files below the media mount."""
        return [f"archive/{file.path.relative_to(self.settings.archive)}" for file in self.demo_files]


# Gone before another folder's deployment comes: two at a time are too much for a small machine.
@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoDeployment]:
    build_images()
    folder = tmp_path_factory.mktemp("deployment")
    open_to_all(folder)
    archive = folder / "archive"
    archive.mkdir()
    demo_files = make_demo_media(archive)
    with deployed(own_settings(folder, f"nightreel-test-{os.getpid()}")) as running:
        yield DemoDeployment(running.settings, running.api, running.environment, demo_files)


@pytest.fixture(scope="package")
def speech(deployment: DemoDeployment) -> Path:
    """A real video of a person speaking."""
    return next(file.path for file in deployment.demo_files if file.path.parent.name == "statements")


@pytest.fixture(scope="package")
def narration(deployment: DemoDeployment) -> DemoFile:
    """A video of speech over photos whose words are known."""
    return next(file for file in deployment.demo_files if file.known_text)
