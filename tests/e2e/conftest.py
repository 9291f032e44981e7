"""A whole deployment for the tests: its own project, ports, folders and database, on the machine's engine."""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from console import stack as console_stack
from console.airflow_api import AirflowApi, RunState
from console.demo_media import DemoFile, make_demo_media
from console.engine import docker
from console.images import build_images
from console.settings import Settings
from operators.database import DRIVER, open_engine

RUN_LIMIT_S = 600


@dataclass(frozen=True)
class Deployment:
    """The running stack and what a test does with it."""

    settings: Settings
    api: AirflowApi
    demo_files: tuple[DemoFile, ...]

    @property
    def demo_locations(self) -> list[str]:
        """The demo's files below the media mount."""
        return [f"archive/{file.path.relative_to(self.settings.archive)}" for file in self.demo_files]

    def run(self, *files: str, dag_id: str = "process_media", **choices: Any) -> RunState:
        """Process files below the media mount and wait for the end."""
        return self.wait(self.api.trigger(dag_id, {"files": list(files), **choices}))

    def wait(self, run: RunState) -> RunState:
        look = partial(self.api.run, run.dag_id, run.run_id)
        ended: RunState = wait_until(look, lambda state: state.ended, RUN_LIMIT_S)
        return ended

    def task_states(self, run: RunState) -> dict[str, str | None]:
        return {task.task_id: task.state for task in self.api.tasks(run.dag_id, run.run_id)}

    def media_database(self) -> Engine:
        """The deployment's media database."""
        password = self.settings.values["MEDIA_DB_PASSWORD"]
        return open_engine(f"{DRIVER}://media:{password}@127.0.0.1:{self.settings.postgres_port}/media")

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Ask the media database."""
        with self.media_database().connect() as connection:
            return [dict(row) for row in connection.execute(text(sql), parameters).mappings()]

    def run_rows(self, sql: str, run: RunState, **parameters: Any) -> list[dict[str, Any]]:
        return self.rows(sql, dag_id=run.dag_id, run_id=run.run_id, **parameters)

    def containers(self, run: RunState | None = None) -> list[str]:
        """Ids of this stack's stage containers, ended ones included."""
        filters = [f"label=nightreel.stack={self.settings.project}"]
        if run:
            filters.append(f"label=nightreel.run_id={run.run_id}")
        arguments = [part for value in filters for part in ("--filter", value)]
        return docker("ps", "--all", "--quiet", "--no-trunc", *arguments).split()

    def service(self, name: str) -> str:
        """The id of a service's container."""
        project = f"label=com.docker.compose.project={self.settings.project}"
        return docker("ps", "--quiet", "--filter", project, "--filter", f"label=com.docker.compose.service={name}")

    def add(self, file: Path, name: str) -> str:
        """Copy a file into the archive; returns its location."""
        target = self.settings.archive / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
        return f"archive/{name}"


def wait_until(look: Callable[[], Any], is_enough: Callable[[Any], bool], limit_s: float, every_s: float = 0.5) -> Any:
    """What `look` gives once it is enough."""
    deadline_s = time.monotonic() + limit_s
    while True:
        seen = look()
        if is_enough(seen):
            return seen
        if time.monotonic() > deadline_s:
            pytest.fail(f"waited {limit_s:.0f} s; last seen: {seen}")
        time.sleep(every_s)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    build_images()
    folder = tmp_path_factory.mktemp("deployment")
    # The stage user must reach its folders.
    for path in [folder, *folder.parents][:3]:
        path.chmod(0o755)
    archive = folder / "archive"
    archive.mkdir()
    demo_files = make_demo_media(archive)
    os.environ |= {
        "COMPOSE_PROJECT_NAME": f"nightreel-test-{os.getpid()}",
        "AIRFLOW_PORT": str(free_port()),
        "POSTGRES_PORT": str(free_port()),
        "NIGHTREEL_ARCHIVE": str(archive),
        "NIGHTREEL_DATA": str(folder / "data"),
    }
    settings = console_stack.up()
    try:
        api = AirflowApi(settings.airflow_url, settings.airflow_user, settings.airflow_password)
        yield Deployment(settings, api, demo_files)
    finally:
        console_stack.down()
        console_stack.docker_compose(settings, "down", "--volumes")


@pytest.fixture(scope="session")
def speech(deployment: Deployment) -> Path:
    """A real video of a person speaking."""
    return next(file.path for file in deployment.demo_files if file.path.parent.name == "statements")


@pytest.fixture(scope="session")
def narration(deployment: Deployment) -> DemoFile:
    """A video of speech over photos whose words are known."""
    return next(file for file in deployment.demo_files if file.known_text)
