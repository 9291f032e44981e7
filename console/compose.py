"""Docker Compose with this deployment's settings, and what it says of the services."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from console.engine import docker_environment
from console.settings import Settings
from console.terminal import REPOSITORY, ConsoleError

INITIALIZATION = "airflow-init"


@dataclass(frozen=True)
class ServiceState:
    """One service's container: Docker's state and health (empty where there is no health check)."""

    service: str
    state: str
    health: str
    exit_code: int

    @property
    def is_well(self) -> bool:
        """Healthy; or, for what runs once, ended well."""
        if self.service == INITIALIZATION:
            return self.state == "exited" and self.exit_code == 0
        return self.state == "running" and self.health == "healthy"

    @property
    def is_starting(self) -> bool:
        """Whether it may be healthy in a while."""
        return self.state == "created" or (self.state == "running" and self.health == "starting")

    @property
    def words(self) -> str:
        """For a person: `scheduler starting`."""
        if self.service == INITIALIZATION and self.is_well:
            return f"{self.service} done"
        return f"{self.service} {self.health if self.state == 'running' and self.health else self.state}"


def compose_environment(settings: Settings) -> dict[str, str]:
    """The environment of every `docker compose` command: checked settings before those of `.env`."""
    return {**docker_environment(), **settings.values}


def docker_compose(settings: Settings, *arguments: str) -> str:
    """Run a short `docker compose` command and return its stdout, stripped.

    Raises:
        ConsoleError: it failed; the message holds what it said.
    """
    told = try_compose(settings, *arguments)
    if told.returncode != 0:
        raise ConsoleError(f"docker compose {' '.join(arguments)} failed: {told.stderr.strip()}")
    return told.stdout.strip()


def try_compose(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a short `docker compose` command; its exit code, stdout and stderr are the caller's to judge."""
    return subprocess.run(
        ["docker", "compose", *arguments],
        env=compose_environment(settings),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def run_in_scheduler(settings: Settings, command: Sequence[str]) -> None:
    """Run a command in the scheduler's container, which has the code, the folders and the database.

    Its output goes to this terminal.

    Raises:
        ConsoleError: it ended with a code other than 0.
    """
    argv = ["docker", "compose", "exec", "--no-TTY", "scheduler", *command]
    code = subprocess.run(argv, env=compose_environment(settings), cwd=REPOSITORY, check=False).returncode
    if code != 0:
        raise ConsoleError(
            f"{' '.join(command[:3])} ended with {code} in the scheduler's container; its words are above"
        )


def service_names(settings: Settings) -> tuple[str, ...]:
    """The services of the Compose files that are in force."""
    return tuple(docker_compose(settings, "config", "--services").split())


def service_states(settings: Settings) -> list[ServiceState]:
    """The containers that the services have now."""
    return parse_states(docker_compose(settings, "ps", "--all", "--format", "json"))


def parse_states(text: str) -> list[ServiceState]:
    """States from `docker compose ps --format json`: a line each, or one list before Compose 2.21."""
    entries = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return [ServiceState(e["Service"], e["State"], e.get("Health", ""), int(e["ExitCode"])) for e in entries]
