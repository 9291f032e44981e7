"""GPUs, as the host sees them: their agent, what `make up` reckons from them, and `make gpu`.

A GPU never keeps the other work from being done: what is wrong with one is told as a warning.
"""

import getpass
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from console.compose import (
    INITIALIZATION,
    ServiceState,
    docker_compose,
    run_in_scheduler,
    service_states,
    try_compose,
)
from console.engine import docker, docker_succeeds, stage_socket
from console.images import IMAGES, MODELS_LABEL, Image, image_names
from console.settings import COMPOSE_FILES, Settings
from console.terminal import REPOSITORY, ConsoleError, console, plain, progress, step, warn

AGENT = "gpu-agent"
AGENT_START_S = 30.0
# A driver that hangs keeps the agent's container from starting, and whoever asks for it waiting.
AGENT_LIMIT_S = 60.0
DATABASE_START_S = 120.0
POLL_EVERY_S = 0.5
# What a person may lay beside docker-compose.yaml; Compose reads it by itself only where COMPOSE_FILE is not set.
OWN_COMPOSE_FILE = "docker-compose.override.yaml"
INVENTORY = ("python", "-m", "operators.gpu.inventory")
SWITCH = ("python", "-m", "operators.gpu.switch")
# The settings that follow where there are no GPUs.
WITHOUT = {"NIGHTREEL_GPU_VRAM_MIB": "", "NIGHTREEL_GPU_SLOTS": "0", "NIGHTREEL_GPU_NEEDS": ""}
# The tables that the inventory reads are there after the migrations.
RECKON = 'python -m operators.migrate >/dev/null && exec python -m operators.gpu.inventory --json "$@"'


def compose_file(settings: Settings) -> str:
    """What Compose reads for these settings: the value of `COMPOSE_FILE`."""
    names = [COMPOSE_FILES[0], *([OWN_COMPOSE_FILE] if (REPOSITORY / OWN_COMPOSE_FILE).exists() else [])]
    return ":".join([*names, COMPOSE_FILES[1]] if settings.gpu_devices else names)


def reckon(settings: Settings) -> dict[str, str]:
    """Start the GPU agent and the database; returns the settings that follow from GPUs, measured needs and budget.

    Raises:
        ConsoleError: the database does not start, or a GPU's size is neither told nor recorded.
    """
    with step("share out the GPUs"):
        docker_compose(settings, "up", "--detach", "--no-deps", "postgres")
        complaint = start_agent(settings)
        unwell = _await_state(settings, "postgres", DATABASE_START_S)
        if unwell:
            raise ConsoleError(f"the database must be healthy before GPUs are shared out: {unwell}; see `make logs`")
        models = stage_models()
        missing = ", ".join(sorted(tag for tag, labelled in models.items() if labelled is None))
        if missing:
            warn(f"the images for GPUs must be built: {missing} missing; run `make images`")
        found = _ask_inventory(settings, models, complaint)
        # What keeps the agent from starting says more than that it does not answer.
        health = complaint or found["health"]
        if health:
            warn(f"{health}. No stage goes there until that is mended")
        for line in found["warnings"]:
            warn(line)
    return {str(name): str(value) for name, value in found["settings"].items()}


def _ask_inventory(settings: Settings, models: Mapping[str, str | None], complaint: str | None) -> dict[str, Any]:
    """What `operators.gpu.inventory` reckons. An agent that is complained of is not waited for."""
    arguments = ["--models", _known(models), *(["--no-wait"] if complaint else [])]
    once = ("run", "--rm", "--no-deps", "--no-TTY", INITIALIZATION, "sh", "-c", RECKON, "inventory")
    told = try_compose(settings, *once, *arguments)
    if told.returncode != 0:
        said = [plain(line) for line in told.stderr.splitlines() if line.strip()][-3:]
        raise ConsoleError("\n".join(["the GPUs must be shared out, and are not:", *filter(None, [complaint]), *said]))
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def _known(models: Mapping[str, str | None]) -> str:
    return json.dumps({tag: labelled for tag, labelled in models.items() if labelled is not None})


def start_agent(settings: Settings) -> str | None:
    """Start the GPU agent, or what changed of it; returns what is wrong, none when it is well."""
    started = try_compose(settings, "up", "--detach", "--no-deps", AGENT, limit_s=AGENT_LIMIT_S)
    if started.returncode != 0:
        said = [plain(line) for line in started.stderr.splitlines() if line.strip()]
        return f"the GPU agent must start, and does not: {said[-1] if said else 'Compose says nothing'}"
    try:
        unwell = _await_state(settings, AGENT, AGENT_START_S, AGENT_LIMIT_S)
    except ConsoleError as error:
        unwell = str(error)
    return f"{unwell}; `make logs SERVICE={AGENT}` tells why" if unwell else None


def agent_state(settings: Settings) -> list[ServiceState]:
    """The agent's container, if it has one; where that cannot be told, why not."""
    try:
        return service_states(settings, AGENT, limit_s=AGENT_LIMIT_S)
    except ConsoleError as error:
        return [ServiceState(AGENT, f"unknown: {error}", "", 0)]


def _await_state(settings: Settings, service: str, patience_s: float, limit_s: float | None = None) -> str | None:
    """Wait until a service is well; returns what is wrong when it cannot be, or is not after `patience_s`.

    Raises:
        ConsoleError: Compose failed, or one question to it took longer than `limit_s`.
    """
    deadline_s = time.monotonic() + patience_s
    with progress(f"{service} starts", lambda: f"{service} starts"):
        while True:
            state = next(iter(service_states(settings, service, limit_s=limit_s)), None)
            if state and state.is_well:
                return None
            if state is None or not state.is_starting or time.monotonic() > deadline_s:
                return f"{service} must be healthy: {state.words if state else 'it has no container'}"
            time.sleep(POLL_EVERY_S)


def stage_models() -> dict[str, str | None]:
    """The models' label of each image for GPUs, by its tag, as the engine has it that runs the stages.

    None: the engine has no such image. Empty: the image holds no models.
    """
    engine = ("--host", f"unix://{stage_socket()}")
    tags = [Image(name, "cuda").tag for name in image_names() if (IMAGES / name / "requirements.cuda.lock").exists()]
    return {tag: _models_label(engine, tag) for tag in tags}


def _models_label(engine: Sequence[str], tag: str) -> str | None:
    if not docker_succeeds(*engine, "image", "inspect", tag):
        return None
    return docker(*engine, "image", "inspect", "--format", f'{{{{index .Config.Labels "{MODELS_LABEL}"}}}}', tag)


def inventory(settings: Settings, arguments: Sequence[str]) -> None:
    """`make gpu`: print the GPUs and what each stage takes of them; or do what the arguments ask for.

    Raises:
        ConsoleError: it was refused; the words are on the terminal.
    """
    if arguments:
        _require_what_and_why(arguments)
        run_in_scheduler(settings, [*SWITCH, "--who", f"make:{person()}", *arguments])
        return
    colour = ["--color"] if console.is_terminal else []
    run_in_scheduler(settings, [*INVENTORY, *colour, "--models", _known(stage_models())])


def _require_what_and_why(arguments: Sequence[str]) -> None:
    given = {argument.partition("=")[0] for argument in arguments}
    if "--why" not in given or len(given) != 2:
        raise ConsoleError(
            'a change must name one thing and a reason, such as: make gpu OPEN=GPU-… WHY="the fan is broken", '
            "make gpu CLOSE=GPU-… WHY=…, make gpu ROUTE=audio.transcribe=cpu WHY=…; "
            f"given: {', '.join(sorted(name.lstrip('-').upper() for name in given))}"
        )


def person() -> str:
    """Who types here."""
    return os.environ.get("SUDO_USER") or getpass.getuser()
