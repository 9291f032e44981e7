"""Docker Compose with this deployment's settings, and what it says of the services."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from console.engine import docker_environment
from console.settings import Settings
from console.terminal import REPOSITORY, ConsoleError

INITIALIZATION = "airflow-init"
# As `timeout` has it.
TIMED_OUT = 124
# What Compose says of a container that was replaced after it had listed it and before it asked for its state.
REPLACED = "No such container"
MOST_ASKED = 5


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
        # Running without a health: it ended between Compose's two questions, and is seen as it is at the next look.
        return self.state == "created" or (self.state == "running" and self.health in ("starting", ""))

    @property
    def words(self) -> str:
        """For a person: `scheduler starting`."""
        if self.service == INITIALIZATION and self.is_well:
            return f"{self.service} done"
        return f"{self.service} {self.health if self.state == 'running' and self.health else self.state}"


def compose_environment(settings: Settings) -> dict[str, str]:
    """The environment of every `docker compose` command: checked settings before those of `.env`."""
    return {**docker_environment(), **settings.values}


def docker_compose(settings: Settings, *arguments: str, limit_s: float | None = None) -> str:
    """Run a short `docker compose` command and return its stdout, stripped.

    Raises:
        ConsoleError: it failed, or did not end within `limit_s`; the message holds what it said.
    """
    return _stdout(try_compose(settings, *arguments, limit_s=limit_s), arguments)


def try_compose(settings: Settings, *arguments: str, limit_s: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a short `docker compose` command; its exit code, stdout and stderr are the caller's to judge.

    One that does not end within `limit_s` is killed: the exit code is 124 then, and stderr says so.
    """
    process = subprocess.Popen(
        ["docker", "compose", *arguments],
        env=compose_environment(settings),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Compose is a child of `docker`, which does not outlive it only if both are killed. Without a limit they stay
        # in the terminal's group, where Ctrl-C lets Compose end in order.
        start_new_session=limit_s is not None,
    )
    with process:
        try:
            stdout, stderr = process.communicate(timeout=limit_s)
        except BaseException as error:
            if limit_s is None:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            said = f"docker compose {' '.join(arguments)} must end within {limit_s:g} s, and hangs; it was killed\n"
            return subprocess.CompletedProcess(process.args, TIMED_OUT, "", said)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


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


def service_states(settings: Settings, *services: str, limit_s: float | None = None) -> list[ServiceState]:
    """The containers that these services have now; all that there are when none is named.

    Asking for a container that a sick driver keeps from starting may hang: leave it out, or set a limit.

    Raises:
        ConsoleError: Compose failed, or did not end within `limit_s`.
    """
    asked = ("ps", "--all", "--format", "json", *services)
    told = try_compose(settings, *asked, limit_s=limit_s)
    for _ in range(MOST_ASKED - 1):
        if REPLACED not in told.stderr:
            break
        told = try_compose(settings, *asked, limit_s=limit_s)
    return parse_states(_stdout(told, asked))


def parse_states(text: str) -> list[ServiceState]:
    """States from `docker compose ps --format json`: a line each, or one list before Compose 2.21."""
    entries = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return [ServiceState(e["Service"], e["State"], e.get("Health", ""), int(e["ExitCode"])) for e in entries]


def _stdout(told: subprocess.CompletedProcess[str], arguments: Sequence[str]) -> str:
    if told.returncode != 0:
        raise ConsoleError(f"docker compose {' '.join(arguments)} failed: {told.stderr.strip()}")
    return told.stdout.strip()
