"""Whole deployments for tests: a project, ports, folders and a database of their own, on the machine's engine."""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from console import stack as console_stack
from console.airflow_api import AirflowApi, RunState
from console.compose import docker_compose
from console.engine import docker
from console.settings import Settings, load_settings
from operators.database import DRIVER, open_engine

RUN_LIMIT_S = 600


@dataclass(frozen=True)
class Deployment:
    """The running stack and what a test does with it. `environment` is what sets it apart from the machine's own."""

    settings: Settings
    api: AirflowApi
    environment: Mapping[str, str]

    def run(self, *files: str, dag_id: str = "process_media", **choices: Any) -> RunState:
        """Process files below the media mount and wait for the end."""
        return self.wait(self.start(*files, dag_id=dag_id, **choices))

    def start(self, *files: str, dag_id: str = "process_media", **choices: Any) -> RunState:
        """Begin to process files below the media mount."""
        return self.api.trigger(dag_id, {"files": list(files), **choices})

    def wait(self, run: RunState, limit_s: float = RUN_LIMIT_S) -> RunState:
        look = partial(self.api.run, run.dag_id, run.run_id)
        ended: RunState = wait_until(look, lambda state: state.ended, limit_s)
        return ended

    def note(self, run: RunState) -> str:
        """The note that Airflow shows on the run."""
        return self.api.run_note(run.dag_id, run.run_id)

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

    def stage_docker(self, *arguments: str) -> str:
        """A `docker` command on the engine that runs the stages."""
        return docker("--host", f"unix://{self.settings.values['NIGHTREEL_DOCKER_SOCKET']}", *arguments)

    def containers(self, run: RunState | None = None) -> list[str]:
        """Ids of this stack's stage containers, ended ones included."""
        filters = [f"label=nightreel.stack={self.settings.project}"]
        if run:
            filters.append(f"label=nightreel.run_id={run.run_id}")
        arguments = [part for value in filters for part in ("--filter", value)]
        return self.stage_docker("ps", "--all", "--quiet", "--no-trunc", *arguments).split()

    def service(self, name: str) -> str:
        """The id of a service's container."""
        project = f"label=com.docker.compose.project={self.settings.project}"
        return docker("ps", "--quiet", "--filter", project, "--filter", f"label=com.docker.compose.service={name}")

    def compose(self, *arguments: str) -> str:
        """A `docker compose` command about this deployment."""
        with variables(self.environment):
            return docker_compose(self.settings, *arguments)

    def add(self, file: Path, name: str) -> str:
        """Copy a file into the archive; returns its location."""
        target = self.settings.archive / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
        return f"archive/{name}"


@contextmanager
def deployed(environment: Mapping[str, str]) -> Iterator[Deployment]:
    """Bring a deployment up with these settings, and take it and its database away again."""
    with variables(environment):
        try:
            settings = console_stack.up()
        except BaseException:
            take_away()
            raise
    try:
        api = AirflowApi(settings.airflow_url, settings.airflow_user, settings.airflow_password)
        yield Deployment(settings, api, environment)
    finally:
        with variables(environment):
            take_away()


def take_away() -> None:
    """Stop the deployment that the environment names, and delete its volumes."""
    settings = load_settings()
    console_stack.down()
    docker_compose(settings, "down", "--volumes", "--remove-orphans")


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def own_settings(folder: Path, name: str) -> dict[str, str]:
    """Settings that keep a deployment apart from any other: its project, ports and folders."""
    return {
        "COMPOSE_PROJECT_NAME": name,
        "AIRFLOW_PORT": str(free_port()),
        "POSTGRES_PORT": str(free_port()),
        "NIGHTREEL_GPU_AGENT_PORT": str(free_port()),
        "NIGHTREEL_ARCHIVE": str(folder / "archive"),
        "NIGHTREEL_DATA": str(folder / "data"),
    }


def open_to_all(folder: Path) -> None:
    """Let the user that stages run as into a folder that pytest made for one user."""
    for path in [folder, *folder.parents][:3]:
        path.chmod(0o755)


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
