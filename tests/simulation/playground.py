"""The simulated deployment that a person plays with."""

import json
import os
from pathlib import Path

from rich.table import Table

from console import stack
from console.airflow_api import AirflowApi
from console.compose import docker_compose
from console.engine import docker
from console.process import Job, run_job
from console.settings import Settings, load_settings, port_is_free
from console.terminal import ConsoleError, console, say, step
from operators.database import DRIVER, open_engine
from operators.gpu.choice_store import choices_of_run
from tests.simulation.agent import AgentControl
from tests.simulation.deployment import build_service_images, simulated_settings, write_film
from tests.simulation.host import DEFAULT_FOLDER, DEFAULT_GPUS, SimulatedHost

PROJECT = "nightreel-simulation"
# Where its ports are looked for, from here upwards: beside those of a deployment that works.
FIRST_PORTS = {"AIRFLOW_PORT": 8090, "POSTGRES_PORT": 5443, "NIGHTREEL_GPU_AGENT_PORT": 9420}
# Short, so that a person sees what happens.
WAITS = {"NIGHTREEL_GPU_PATIENCE_S": "15", "NIGHTREEL_GPU_BREAKER_WAIT_S": "30", "NIGHTREEL_GPU_XID_MEMORY_S": "30"}
FILMS: dict[str, tuple[str, ...]] = {
    "short.mp4": (),
    "long.mp4": ("audio.transcribe cuda: sleep 45", "vision.analyze cuda: sleep 60"),
    "runs_out_of_memory.mp4": ("vision.analyze cuda: sleep 3", "vision.analyze cuda: oom"),
    "never_fits.mp4": ("vision.analyze cuda: oom-always",),
    "computes_wrong_numbers.mp4": ("vision.analyze cuda: broken",),
    "rejected.mp4": ("media.probe: reject corrupt",),
}


class Playground:
    """One per repository, in build/simulation/. Its settings are kept there from one command to the next."""

    def __init__(self, folder: Path = DEFAULT_FOLDER) -> None:
        self.host = SimulatedHost(folder)
        self._folder = folder
        self._ports_file = folder / "ports.json"

    def enter(self) -> None:
        """Make this process's environment the simulated deployment's."""
        settings = {
            **simulated_settings(self.host, DEFAULT_GPUS),
            **WAITS,
            **self._ports(),
            "COMPOSE_PROJECT_NAME": PROJECT,
            "NIGHTREEL_ARCHIVE": str(self._archive),
            "NIGHTREEL_DATA": str(self._folder / "data"),
        }
        os.environ.update(settings)

    @property
    def is_up(self) -> bool:
        """Whether its services and its host run."""
        project = f"label=com.docker.compose.project={PROJECT}"
        return self.host.is_up and bool(docker("ps", "--quiet", "--filter", project))

    @property
    def settings(self) -> Settings:
        """The deployment's settings."""
        return load_settings()

    @property
    def agent(self) -> AgentControl:
        """The deployment's GPU agent."""
        return AgentControl(self.settings)

    def up(self) -> None:
        """Start everything; what is up already stays as it is, the GPUs' state too."""
        build_service_images()
        if not self.host.is_up:
            self.host.start()
        self._archive.mkdir(parents=True, exist_ok=True)
        for name, lines in FILMS.items():
            if not (self._archive / name).exists():
                write_film(self._archive, name, *lines)
        stack.up()

    def down(self) -> None:
        """Stop everything and delete what it made, its database too. What is cached stays."""
        settings = self.settings
        self.agent.remove_impostor()
        stack.down()
        with step("stop the simulated GPU host, delete the simulated database"):
            docker_compose(settings, "down", "--volumes")
            self.host.stop()
        self._ports_file.unlink(missing_ok=True)

    def run(self, film: str) -> None:
        """Send a film through the pipeline and say what became of it, and why."""
        if film not in FILMS:
            raise LookupError(f"a film must be one of {', '.join(FILMS)}: {film!r} is none")
        settings = self.settings
        location = write_film(self._archive, film, *FILMS[film])
        api = AirflowApi(settings.airflow_url, settings.airflow_user, settings.airflow_password)
        run = run_job(api, Job((location,)))
        console.print(f"the run ended [bold]{run.state}[/]")
        password = settings.values["MEDIA_DB_PASSWORD"]
        database = open_engine(f"{DRIVER}://media:{password}@127.0.0.1:{settings.postgres_port}/media")
        for choice in choices_of_run(database, run.dag_id, run.run_id):
            console.print(f"  {choice.stage} → [bold]{choice.branch}[/]: {choice.reason}")
        database.dispose()

    def show(self) -> None:
        """Print the GPUs as they are, what the agent makes of them, and the last containers on them."""
        self._show_gpus()
        self._show_agent()
        for grant in self.host.grants()[-5:]:
            devices, outcome = ", ".join(grant.devices), f"refused: {grant.refusal}" if grant.refusal else "handed over"
            say(f"{grant.granted_at:%H:%M:%S}  container {grant.container_id[:12]}  {devices}  {outcome}")

    def _show_gpus(self) -> None:
        table = Table("device", "name", "MiB", "held by stages", "by others", "state", box=None)
        state = self.host.nvml.read()
        for card in state.gpus:
            held_mib = sum(process.used_mib or 0 for process in card.processes)
            faults = [
                *(["lost"] if card.lost else []),
                *(["hot"] if card.slowdowns else []),
                *(f"xid {told.xid}" for told in card.xids),
            ]
            numbers = (str(card.total_mib), str(held_mib), str(card.other_mib))
            table.add_row(card.uuid, card.name, *numbers, ", ".join(faults) or "well")
        console.print(table)
        if state.init_code:
            say(f"the driver's library fails with {state.init_code}")

    def _show_agent(self) -> None:
        try:
            health = self.agent.health()
        except (OSError, ValueError) as error:
            say(f"the agent tells nothing: {error}")
            return
        say(f"the agent says {health.verdict}")
        # What is wrong with the host is said of each device too.
        reasons = (*health.reasons, *(reason for device in health.devices for reason in device.reasons))
        for reason in dict.fromkeys(reasons):
            say(f"  {reason.code}: {reason.message}")

    @property
    def _archive(self) -> Path:
        return self._folder / "archive"

    def _ports(self) -> dict[str, str]:
        if not self._ports_file.exists():
            ports = {name: str(_free_port(first)) for name, first in FIRST_PORTS.items()}
            self._folder.mkdir(parents=True, exist_ok=True)
            self._ports_file.write_text(json.dumps(ports))
        ports = json.loads(self._ports_file.read_text())
        return {str(name): str(port) for name, port in ports.items()}


def _free_port(first: int) -> int:
    found = next((port for port in range(first, first + 100) if port_is_free(port)), None)
    if found is None:
        raise ConsoleError(f"one of the ports {first} to {first + 99} must be free: none is")
    return found
