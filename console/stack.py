"""Nightreel's services on this machine: start, stop, restart, logs, status."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from console import gpu, monitoring
from console.archives import require_folders, write_compose_file
from console.base_image import ensure_postgres_image
from console.compose import (
    INITIALIZATION,
    ServiceState,
    compose_environment,
    docker_compose,
    run_in_scheduler,
    service_names,
    service_states,
    try_compose,
)
from console.engine import docker, ensure_engine, image_id, stage_socket
from console.settings import (
    ENV_FILE,
    STAGE_UID,
    Settings,
    archives_file,
    complete,
    database_without_passwords,
    load_settings,
    port_is_free,
    reckoned_file,
    record,
)
from console.terminal import LOGS, REPOSITORY, ConsoleError, console, guard, plain, progress, say, step, tail

__all__ = ["docker_compose", "down", "report", "restart", "status", "up"]

AIRFLOW_IMAGE = "nightreel/airflow:cpu"
# All of these must be well, and those of monitoring where it is on; the GPU agent need not be.
SERVICES = ("postgres", INITIALIZATION, "api-server", "scheduler", "dag-processor", "triggerer")
CODE_SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
UP_S = 600.0
POLL_EVERY_S = 1.0
STACK_LABEL = "nightreel.stack"
NIGHTS_LIMIT_S = 30.0


def up(is_monitored: str | None = None) -> Settings:
    """Start what does not run yet, restart what changed, and return when all services are healthy.

    `is_monitored`, 0 or 1, is kept as the setting NIGHTREEL_MONITORING.

    Raises:
        ConsoleError: something is missing, a port is taken, or a service does not get well.
    """
    ensure_engine()
    _refuse_unknown_database()
    complete()
    if is_monitored is not None:
        record(reckoned_file(), {"NIGHTREEL_MONITORING": is_monitored})
    settings = load_settings()
    _require_free_ports(settings)
    if image_id(AIRFLOW_IMAGE) is None:
        raise ConsoleError(f"{AIRFLOW_IMAGE} must be built before the services start: run `make images`")
    ensure_postgres_image()
    monitoring.ensure_monitoring_images(settings)
    prepare_folders(settings)
    settings = _reckon(settings)
    with step("start the services"):
        _start_services(settings)
    say(f"\nAirflow  {settings.airflow_url}")
    say(f"Log in   as {settings.airflow_user}, with AIRFLOW_ADMIN_PASSWORD from {ENV_FILE}")
    say(f"Archive  {', '.join(map(str, [settings.archive, *settings.more_archives.values()]))}")
    say(f"Results  {settings.results}")
    for name, address in monitoring.urls(settings):
        say(f"{name:<10} {address}")
    say(f"Nights   {nights(settings)}")
    return settings


def down() -> None:
    """Stop the services and the stage containers they started. Databases, results and logs stay."""
    settings = load_settings()
    with step("stop the services"):
        docker_compose(settings, *monitoring.every_profile(), "down", "--remove-orphans")
    engine = ("--host", f"unix://{stage_socket()}")
    left = docker(*engine, "ps", "--all", "--quiet", "--filter", f"label={STACK_LABEL}={settings.project}").split()
    if left:
        with step(f"remove {len(left)} stage containers; what they finished is kept"):
            docker(*engine, "rm", "--force", *left)
    if reckoned_file() != ENV_FILE:
        reckoned_file().unlink(missing_ok=True)
        archives_file().unlink(missing_ok=True)


def restart() -> None:
    """Restart Airflow's services, so that changed operators and plugins are read. Running tasks are retried.

    Those of monitoring that are there are restarted too, and read their files anew.
    """
    settings = _reckon(load_settings())
    watching = monitoring.services(settings)
    there = [state.service for state in service_states(settings, *watching)] if watching else []
    with step("restart Airflow's services"):
        docker_compose(settings, "restart", *CODE_SERVICES, *there)
        _start_services(settings)


def logs(services: Sequence[str]) -> None:
    """Follow the services' logs until Ctrl-C; all services when none is named."""
    settings = load_settings()
    environment = compose_environment(settings)
    os.execvpe("docker", ["docker", "compose", "logs", "--follow", "--tail", "100", *services], environment)  # noqa: S606


def psql(arguments: Sequence[str]) -> None:
    """Open the media database in Postgres' own client, in its container."""
    compose = ["docker", "compose", "exec", *([] if sys.stdin.isatty() else ["--no-TTY"]), "postgres"]
    command = [*compose, "psql", "--username=media", "media", *arguments]
    os.execvpe("docker", command, compose_environment(load_settings()))  # noqa: S606


def report(arguments: Sequence[str]) -> None:
    """Print the report of a run: what it found, and where its time went."""
    settings = load_settings()
    colour = ["--color"] if console.is_terminal else []
    command = ["python", "-m", "operators.report", "--results", str(settings.results), *colour, *arguments]
    run_in_scheduler(settings, command)


def show_backfills(arguments: Sequence[str]) -> None:
    """Print how running backfills go, or the report of the last one."""
    colour = ["--color"] if console.is_terminal else []
    run_in_scheduler(load_settings(), ["python", "-m", "operators.backfill.progress", *colour, *arguments])


def switch_backfills(arguments: Sequence[str]) -> None:
    """Pause backfills, or let them go on, in this person's name."""
    command = ["python", "-m", "operators.backfill.pause", "--who", f"make:{gpu.person()}", *arguments]
    run_in_scheduler(load_settings(), command)


def status() -> None:
    """Print each service's state, where Airflow answers, and when the next night opens.

    Raises:
        ConsoleError: a service is not well.
    """
    settings = load_settings()
    wanted = _wanted(settings)
    states = service_states(settings, *wanted)
    if settings.gpu_devices:
        states += gpu.agent_state(settings)
    for service in (*wanted, *([gpu.AGENT] if settings.gpu_devices else [])):
        found = next((state for state in states if state.service == service), None)
        ill = "[yellow]![/]" if service == gpu.AGENT else "[red]✗[/]"
        mark = "[green]✓[/]" if found and found.is_well else ill
        console.print(f"{mark} {found.words if found else f'{service} is not there'}")
    if not _all_well(settings, states):
        raise ConsoleError("not all services are well; `make up` starts them, `make logs` tells what they say")
    for _, address in [("Airflow", settings.airflow_url), *monitoring.urls(settings)]:
        say(address)
    say(f"nights: {nights(settings)}")


def nights(settings: Settings) -> str:
    """One line: when the next night opens, that backfills are paused, or that there are no nights."""
    command = ("python", "-m", "operators.backfill.next_night")
    told = try_compose(settings, "exec", "--no-TTY", "scheduler", *command, limit_s=NIGHTS_LIMIT_S)
    if told.returncode == 0:
        return plain(told.stdout)
    why = told.stderr.strip().splitlines() or [f"it ended with {told.returncode}"]
    return f"not known, as the scheduler does not tell: {plain(why[-1])}"


def prepare_folders(settings: Settings) -> None:
    """Make the folders that the services need; results/ and work/ belong to the user that stages run as.

    Raises:
        ConsoleError: an archive that was chosen is not there, or a folder cannot be made.
    """
    chosen = settings.archive != settings.data / "archive"
    if chosen and not settings.archive.is_dir():
        raise ConsoleError(
            f"NIGHTREEL_ARCHIVE must be a folder: {settings.archive} is none; mount it, or change it in .env"
        )
    require_folders(settings.more_archives)
    try:
        for folder in (settings.archive, settings.inbox, settings.results, settings.work):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConsoleError(f"NIGHTREEL_DATA must be writable: {error}; change it in .env") from error
    owned = [folder for folder in (settings.results, settings.work) if folder.stat().st_uid != STAGE_UID]
    if os.geteuid() == 0:
        for folder in owned:
            os.chown(folder, STAGE_UID, STAGE_UID)
    elif owned:
        _change_owner(settings.data, [folder.name for folder in owned])


def _change_owner(data: Path, names: Sequence[str]) -> None:
    # Only root may give a folder away; whoever may use the engine may have a container do it.
    docker(
        *("run", "--rm", "--network", "none", "--user", "0", "--mount", f"type=bind,source={data},target=/data"),
        *(AIRFLOW_IMAGE, "chown", f"{STAGE_UID}:{STAGE_UID}", *(f"/data/{name}" for name in names)),
    )


def _refuse_unknown_database() -> None:
    # Before any password is made: new ones would lock us out of a database that was made with others.
    project = database_without_passwords()
    volume = f"{project}_postgres"
    if project and volume in docker("volume", "ls", "--quiet").split():
        raise ConsoleError(
            f"{ENV_FILE} must hold the passwords that the database was made with: it lacks them, and the database is "
            f"in the volume {volume}; put the file back, or give the database up with `docker volume rm {volume}`; "
            "if the database is another deployment's, put another COMPOSE_PROJECT_NAME into .env"
        )


def _reckon(settings: Settings) -> Settings:
    """Settings that follow from the machine, the GPUs and the other settings: recorded, for Compose alone too."""
    socket = stage_socket()
    machine = {"NIGHTREEL_DOCKER_SOCKET": str(socket), "NIGHTREEL_DOCKER_GID": str(socket.stat().st_gid)}
    reckoned = {"COMPOSE_FILE": _compose_files(settings), "COMPOSE_PROFILES": monitoring.profiles(settings)}
    settings = _record(machine | reckoned)
    settings = _record(gpu.reckon(settings) if settings.gpu_devices else gpu.WITHOUT)
    return _record({"NIGHTREEL_PARALLELISM": str(settings.slots)})


def _compose_files(settings: Settings) -> str:
    archives = archives_file()
    more = [str(archives.relative_to(REPOSITORY))] if write_compose_file(archives, settings.more_archives) else []
    return ":".join([gpu.compose_file(settings), *more])


def _record(found: Mapping[str, str]) -> Settings:
    record(reckoned_file(), found)
    return load_settings()


def _require_free_ports(settings: Settings) -> None:
    for name, port in settings.ports.items():
        ours = ("--filter", f"label=com.docker.compose.project={settings.project}", "--filter", f"publish={port}")
        if not port_is_free(port) and not docker("ps", "--quiet", *ours):
            raise ConsoleError(f"{name} must be free: something listens on 127.0.0.1:{port}; choose another in .env")


def _start_services(settings: Settings) -> None:
    log = LOGS / "compose-up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    states: list[ServiceState] = []
    told: set[str] = set()
    monitoring.stop_unwanted(settings)
    # The agent was started apart: were it to fail or hang here, nothing would start.
    services = [name for name in service_names(settings) if name != gpu.AGENT]
    # What was well before may be replaced yet; it is told when Compose has decided.
    old = {state.service for state in service_states(settings, *services) if state.is_well}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["docker", "compose", "up", "--detach", "--remove-orphans", *services],
            env=compose_environment(settings),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    with progress("the services start", lambda: ", ".join(s.words for s in states if not s.is_well)):
        while not (process.poll() == 0 and _all_well(settings, states)):
            if process.poll() not in (None, 0) or time.monotonic() - started_s > UP_S:
                process.terminate()
                raise ConsoleError(_failure(settings, services, log))
            time.sleep(POLL_EVERY_S)
            states[:] = service_states(settings, *services)
            old = set() if process.poll() == 0 else old & {state.service for state in states if state.is_well}
            for state in (s for s in states if s.is_well and s.service not in told | old):
                told.add(state.service)
                elapsed_s = time.monotonic() - started_s
                console.print(f"  [green]✓[/] {state.words} [dim]{elapsed_s:.1f} s[/]")


def _all_well(settings: Settings, states: Sequence[ServiceState]) -> bool:
    return set(_wanted(settings)) <= {state.service for state in states if state.is_well}


def _wanted(settings: Settings) -> tuple[str, ...]:
    return (*SERVICES, *monitoring.services(settings))


def _failure(settings: Settings, services: Sequence[str], log: Path) -> str:
    ill = [state for state in service_states(settings, *services) if not state.is_well and state.state != "created"]
    lines = ["all services must get well, and do not; more with `make logs`", *tail(log, 1)]
    for state in ill:
        said = docker_compose(settings, "logs", "--no-log-prefix", "--tail", "15", state.service)
        lines += [f"{state.words} (exit code {state.exit_code}):", *(f"  {plain(line)}" for line in said.splitlines())]
    return "\n".join(lines)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="make", description=__doc__)
    parser.add_argument(
        "command", choices=["up", "down", "restart", "status", "logs", "psql", "report", "gpu", "progress", "pause"]
    )
    parser.add_argument("--monitoring", choices=["0", "1"], help="up: whether Prometheus and Grafana run from now on")
    given, passed_on = parser.parse_known_args()
    ensure_engine()
    match given.command:
        case "up":
            up(given.monitoring)
        case "down":
            down()
        case "restart":
            restart()
        case "status":
            status()
        case "logs":
            logs(passed_on)
        case "psql":
            psql(passed_on)
        case "report":
            report(passed_on)
        case "gpu":
            gpu.inventory(load_settings(), passed_on)
        case "progress":
            show_backfills(passed_on)
        case "pause":
            switch_backfills(passed_on)


if __name__ == "__main__":
    sys.exit(guard(_main))
