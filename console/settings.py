"""The deployment's settings: `.env`, made once with random secrets, then a person's to edit."""

import os
import re
import secrets
import socket
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from console.archives import FIRST_ARCHIVE, SCAN_SETTINGS, check_scan, more_archives
from console.monitoring_settings import MONITORING_GROUP, MONITORING_PORTS, MONITORING_SETTINGS, check_monitoring
from console.night import GROUP, NIGHT_SETTINGS, machine_time_zone
from console.setting_rules import check_gpu, check_night, gpu_devices, port, positive_number, whole_number
from console.terminal import REPOSITORY, ConsoleError

ENV_FILE = REPOSITORY / ".env"
STAGE_UID = 10001
MIB = 1024 * 1024
# What stays for Postgres, Airflow and the system, of the machine's memory.
SERVICES_MEMORY_MIB = 4096
STAGE_MEMORY_MIN_MIB = 2048
STAGE_MEMORY_MAX_MIB = 8192
STAGE_CPUS_MAX = 4
LIGHT_SLOTS = 8
# The pool `gpu` has a slot also without GPUs: see images/airflow/initialize.py.
LEAST_GPU_SLOTS = 1
DEFAULT_PROJECT = "nightreel"
COMPOSE_FILES = ("docker-compose.yaml", "compose.gpu.yaml")
# Used when the database is made, and never after.
DATABASE_PASSWORDS = ("POSTGRES_PASSWORD", "AIRFLOW_DB_PASSWORD", "MEDIA_DB_PASSWORD")


@dataclass(frozen=True)
class Machine:
    """What the defaults are reckoned from. `repository` is where this repository lies."""

    cores: int
    memory_mib: int
    repository: Path

    @property
    def stage_cpus(self) -> int:
        """Half of the cores, at most 4: two containers of two threads do more than one of four."""
        return min(STAGE_CPUS_MAX, max(1, self.cores // 2))

    @property
    def cpu_slots(self) -> int:
        """Stage containers that run at a time without sharing cores."""
        return max(1, self.cores // self.stage_cpus)

    @property
    def stage_memory_mib(self) -> int:
        """A stage container's share of the memory that is not the services'."""
        share_mib = (self.memory_mib - SERVICES_MEMORY_MIB) // self.cpu_slots
        return min(STAGE_MEMORY_MAX_MIB, max(STAGE_MEMORY_MIN_MIB, share_mib))


@dataclass(frozen=True)
class Entry:
    """One setting of `.env`: its comment there, and its value when nobody chose one."""

    name: str
    comment: str
    default: Callable[[Machine], str]
    group: str = ""


@dataclass(frozen=True)
class Settings:
    """Checked settings. `values` is what Compose is given; the folders are absolute paths on this machine."""

    values: Mapping[str, str]
    project: str
    archive: Path
    more_archives: Mapping[str, Path]
    data: Path
    airflow_port: int
    postgres_port: int
    gpu_agent_port: int
    gpu_devices: tuple[str, ...]
    is_monitored: bool
    monitoring_ports: Mapping[str, int]

    @property
    def slots(self) -> int:
        """The slots of all pools together, which is how many tasks may run at a time."""
        cpu, gpu, light = (int(self.values[f"NIGHTREEL_{pool}_SLOTS"]) for pool in ("CPU", "GPU", "LIGHT"))
        return cpu + max(LEAST_GPU_SLOTS, gpu) + light

    @property
    def ports(self) -> dict[str, int]:
        """The ports on this machine that the services open, by setting."""
        open_ports = {"AIRFLOW_PORT": self.airflow_port, "POSTGRES_PORT": self.postgres_port}
        open_ports |= {"NIGHTREEL_GPU_AGENT_PORT": self.gpu_agent_port} if self.gpu_devices else {}
        return open_ports | (dict(self.monitoring_ports) if self.is_monitored else {})

    @property
    def inbox(self) -> Path:
        """Media that is not the archive's: what a person handed in."""
        return self.data / "inbox"

    @property
    def results(self) -> Path:
        """What the stages wrote."""
        return self.data / "results"

    @property
    def work(self) -> Path:
        """Requests to stage containers and what they answered."""
        return self.data / "work"

    @property
    def airflow_url(self) -> str:
        """Where Airflow answers, without a final slash."""
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def airflow_user(self) -> str:
        """The user who may do everything in Airflow."""
        return "admin"

    @property
    def airflow_password(self) -> str:
        """The password of `airflow_user`."""
        return self.values["AIRFLOW_ADMIN_PASSWORD"]


def _secret(_machine: Machine) -> str:
    return secrets.token_urlsafe(24)


def _always(value: str) -> Callable[[Machine], str]:
    return lambda _machine: value


ENTRIES = (
    Entry(
        "COMPOSE_PROJECT_NAME", "Tells this deployment from others on the machine.", lambda m: DEFAULT_PROJECT, "Basics"
    ),
    Entry("AIRFLOW_PORT", "Airflow's web interface, open to this machine only.", lambda m: "8080"),
    Entry("POSTGRES_PORT", "Postgres, open to this machine only.", lambda m: "5433"),
    Entry(
        "NIGHTREEL_ARCHIVE",
        "The media archive. It is only read, by user 10001. Moving it needs no new scan: media is known by content.",
        lambda m: str(m.repository / "data/archive"),
        "Folders, as absolute paths",
    ),
    Entry("NIGHTREEL_DATA", "inbox/, results/ and work/ are made in here.", lambda m: str(m.repository / "data")),
    Entry("NIGHTREEL_MORE_ARCHIVES", "More archives, such as tapes=/mnt/tapes,news=/srv/news.", _always("")),
    *(Entry(name, comment, _always(value)) for name, comment, value in SCAN_SETTINGS),
    Entry("NIGHTREEL_STAGE_CPUS", "Cores of one stage container.", lambda m: str(m.stage_cpus), "What stages may take"),
    Entry("NIGHTREEL_STAGE_MEMORY_MIB", "Memory of one stage container.", lambda m: str(m.stage_memory_mib)),
    Entry("NIGHTREEL_STAGE_PIDS", "Processes and threads of one stage container.", lambda m: "512"),
    Entry("NIGHTREEL_CPU_SLOTS", "Stage containers on the CPU at a time.", lambda m: str(m.cpu_slots)),
    Entry(
        "NIGHTREEL_LIGHT_SLOTS",
        "Tasks at a time that compute nothing: they wait, ask, write.",
        lambda m: str(LIGHT_SLOTS),
    ),
    Entry(
        "NIGHTREEL_GPU_DEVICES",
        "UUIDs of the GPUs and MIG slices for the stages, with commas, from `nvidia-smi -L`. Empty: all on the CPU.",
        lambda m: "",
        "GPUs",
    ),
    Entry("NIGHTREEL_GPU_RESERVE_MIB", "VRAM of each that is left to its driver and display.", lambda m: "512"),
    Entry(
        "NIGHTREEL_GPU_BUDGET_MIB",
        "VRAM that one slot of the pool `gpu` stands for. 0: one slot per GPU, tasks take turns on it.",
        lambda m: "0",
    ),
    Entry(
        "NIGHTREEL_GPU_PATIENCE_S", "How long a stage waits for a usable GPU until it takes the CPU.", lambda m: "60"
    ),
    Entry(
        "NIGHTREEL_GPU_BREAKER_WAIT_S",
        "How long a GPU that failed is left alone; twice as long each time it fails again, up to 32 times this.",
        lambda m: "120",
    ),
    Entry("NIGHTREEL_GPU_AGENT_PORT", "The GPU agent, open to this machine only.", lambda m: "9410"),
    Entry("NIGHTREEL_GPU_AGENT_URL", "The GPU agent, as the other services see it.", lambda m: "http://gpu-agent:9410"),
    Entry("NIGHTREEL_TIME_ZONE", "The time zone of the nights' hours.", lambda m: machine_time_zone(), GROUP),
    *(Entry(name, comment, _always(value)) for name, comment, value in NIGHT_SETTINGS),
    *(
        Entry(name, comment, _always(value), MONITORING_GROUP if name == MONITORING_SETTINGS[0][0] else "")
        for name, comment, value in MONITORING_SETTINGS
    ),
    Entry("AIRFLOW_ADMIN_PASSWORD", "Airflow's user `admin`.", _secret, "Passwords and keys, random"),
    Entry("AIRFLOW_VIEWER_PASSWORD", "Airflow's user `viewer`, who may look and not touch.", _secret),
    Entry("NIGHTREEL_NOTES_PASSWORD", "Airflow's user `nightreel`, by whom tasks write notes on runs.", _secret),
    Entry("GRAFANA_ADMIN_PASSWORD", "Grafana's user `admin`, taken when Grafana starts for the first time.", _secret),
    Entry("POSTGRES_PASSWORD", "The database's superuser. The three are used when the database is made.", _secret),
    Entry("AIRFLOW_DB_PASSWORD", "The owner of Airflow's database.", _secret),
    Entry("MEDIA_DB_PASSWORD", "The owner of the media database.", _secret),
    Entry(
        "AIRFLOW_FERNET_KEY",
        "Encrypts what Airflow keeps of connections.",
        lambda m: urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    ),
    Entry("AIRFLOW_JWT_SECRET", "Signs logins.", lambda m: secrets.token_urlsafe(64)),
    Entry("AIRFLOW_API_SECRET", "Signs sessions.", _secret),
    Entry(
        "NIGHTREEL_DOCKER_SOCKET",
        "The Docker engine's socket.",
        lambda m: "/var/run/docker.sock",
        "Found and reckoned, written anew by each `make up`",
    ),
    Entry("NIGHTREEL_DOCKER_GID", "The group that may use it.", lambda m: "0"),
    Entry("COMPOSE_FILE", "What Compose reads; with a GPU, its agent too.", lambda m: COMPOSE_FILES[0]),
    Entry("COMPOSE_PROFILES", "What Compose starts beside the services: Prometheus and Grafana.", lambda m: ""),
    Entry(
        "NIGHTREEL_GPU_VRAM_MIB",
        "MiB of each GPU, in their order, as the agent tells; by hand where it cannot.",
        lambda m: "",
    ),
    Entry("NIGHTREEL_GPU_SLOTS", "Slots of the pool `gpu`: VRAM less reserve, by the budget.", lambda m: "0"),
    Entry("NIGHTREEL_GPU_NEEDS", "MiB of VRAM that each stage takes, measured where it can be.", lambda m: ""),
    Entry(
        "NIGHTREEL_PARALLELISM",
        "Tasks at a time: the slots of cpu, gpu and light tasks together.",
        lambda m: str(m.cpu_slots + LEAST_GPU_SLOTS + LIGHT_SLOTS),
    ),
)


def this_machine() -> Machine:
    """The cores this process may use, and the machine's memory."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(cores=len(os.sched_getaffinity(0)), memory_mib=memory_bytes // MIB, repository=REPOSITORY)


def load_settings(env_file: Path = ENV_FILE, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. A variable of the environment goes before `.env`, as in Compose.

    Raises:
        ConsoleError: `.env` is not there or lacks a value, or a value breaks its rule.
    """
    if not env_file.exists():
        raise ConsoleError(f"{env_file} must hold the settings: there is no such file; run `make up`, which makes it")
    values = {**_values(env_file), **_values(reckoned_file(env_file, environment)), **environment}
    missing = [entry.name for entry in ENTRIES if entry.name not in values]
    if missing:
        raise ConsoleError(f"{env_file} must hold every setting: {', '.join(missing)} missing; run `make up`")
    return check({entry.name: values[entry.name] for entry in ENTRIES})


def configured_gpus(env_file: Path = ENV_FILE, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The GPUs that are configured, also before all settings are there.

    Raises:
        ConsoleError: a UUID has another form, or is there twice.
    """
    return gpu_devices({"NIGHTREEL_GPU_DEVICES": "", **_values(env_file), **environment})


def database_without_passwords(env_file: Path = ENV_FILE, environment: Mapping[str, str] = os.environ) -> str | None:
    """The project whose database, if there is one, has passwords that `.env` does not hold; none when it has all."""
    values = {**_values(env_file), **environment}
    if all(name in values for name in DATABASE_PASSWORDS):
        return None
    return values.get("COMPOSE_PROJECT_NAME", DEFAULT_PROJECT)


def complete(env_file: Path = ENV_FILE, machine: Machine | None = None) -> dict[str, str]:
    """Add what `.env` lacks, readable by its owner only, and return all of its values.

    Raises:
        ConsoleError: the file cannot be written.
    """
    machine = machine or this_machine()
    held = _values(env_file)
    missing = [entry for entry in ENTRIES if entry.name not in held]
    if missing:
        lines = [] if env_file.exists() else ["# Made by `make up`. Edit it, then run `make up` again."]
        for entry in missing:
            held[entry.name] = entry.default(machine)
            lines += [f"\n# {entry.group}"] if entry.group else []
            lines += [f"# {entry.comment}", f"{entry.name}={held[entry.name]}"]
        before = env_file.read_text().rstrip() + "\n" if env_file.exists() else ""
        _write(env_file, before + "\n".join(lines) + "\n")
    return held


def reckoned_file(env_file: Path = ENV_FILE, environment: Mapping[str, str] = os.environ) -> Path:
    """Where `make up` writes what it found and reckoned: `.env`.

    A deployment that the environment names, such as a test's, has a file of its own, since what was reckoned for
    it holds for no other.
    """
    named = environment.get("COMPOSE_PROJECT_NAME")
    if named in (None, _values(env_file).get("COMPOSE_PROJECT_NAME", DEFAULT_PROJECT)):
        return env_file
    return env_file.parent / "build" / "deployments" / f"{named}.env"


def archives_file(env_file: Path = ENV_FILE, environment: Mapping[str, str] = os.environ) -> Path:
    """Where `make up` writes the Compose file for more archives: beside what it found and reckoned."""
    reckoned = reckoned_file(env_file, environment)
    return reckoned.with_name(f"{reckoned.name}.archives.yaml")


def record(file: Path, found: Mapping[str, str]) -> None:
    """Write values that were found or reckoned over those in a file of settings, in their places; new ones follow."""
    before = file.read_text().splitlines() if file.exists() else []
    after = [next((f"{name}={found[name]}" for name in found if line.startswith(f"{name}=")), line) for line in before]
    after += [f"{name}={value}" for name, value in found.items() if f"{name}={value}" not in after]
    if after != before:
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(file, "\n".join(after) + "\n")


def parse(text: str) -> dict[str, str]:
    """The values of a `.env` file; quotes around a value are taken off."""
    values = {}
    for line in text.splitlines():
        assigned = re.match(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$", line)
        if assigned:
            quoted = re.match(r"""^(['"])(.*)\1\s*(?:#.*)?$""", assigned[2].strip())
            values[assigned[1]] = quoted[2] if quoted else re.split(r"\s+#", assigned[2].strip())[0]
    return values


def check(values: Mapping[str, str]) -> Settings:
    """Settings from values that keep their rules.

    Raises:
        ConsoleError: a value breaks its rule.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", values["COMPOSE_PROJECT_NAME"]):
        raise ConsoleError(
            "COMPOSE_PROJECT_NAME must be lower-case letters, digits, - and _: "
            f"it is {values['COMPOSE_PROJECT_NAME']!r}; change it in .env"
        )
    for name in ("NIGHTREEL_ARCHIVE", "NIGHTREEL_DATA"):
        # The host's engine mounts them into stage containers, and knows no folder to start from.
        if not Path(values[name]).is_absolute():
            raise ConsoleError(f"{name} must be an absolute path: it is {values[name]!r}; change it in .env")
    for name in ("STAGE_MEMORY_MIB", "STAGE_PIDS", "CPU_SLOTS", "LIGHT_SLOTS", "PARALLELISM"):
        whole_number(values, f"NIGHTREEL_{name}", least=1)
    positive_number(values, "NIGHTREEL_STAGE_CPUS")
    check_gpu(values)
    check_scan(values)
    check_monitoring(values)
    check_night(values, archives=[FIRST_ARCHIVE, *more_archives(values)])
    for entry in ENTRIES:
        if entry.default is _secret and not re.fullmatch(r"[A-Za-z0-9_.~-]+", values[entry.name]):
            raise ConsoleError(f"{entry.name} must be letters, digits, and - _ . ~ only: change it in .env")
    return Settings(
        values=values,
        project=values["COMPOSE_PROJECT_NAME"],
        archive=Path(values["NIGHTREEL_ARCHIVE"]),
        more_archives=more_archives(values),
        data=Path(values["NIGHTREEL_DATA"]),
        airflow_port=port(values, "AIRFLOW_PORT"),
        postgres_port=port(values, "POSTGRES_PORT"),
        gpu_agent_port=port(values, "NIGHTREEL_GPU_AGENT_PORT"),
        gpu_devices=gpu_devices(values),
        is_monitored=values["NIGHTREEL_MONITORING"] == "1",
        monitoring_ports={name: port(values, name) for name in MONITORING_PORTS},
    )


def port_is_free(number: int) -> bool:
    """Whether a service could listen on a port of this machine now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True


def _values(file: Path) -> dict[str, str]:
    return parse(file.read_text()) if file.exists() else {}


def _write(env_file: Path, text: str) -> None:
    temporary = env_file.with_name(f"{env_file.name}.new")
    try:
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        temporary.replace(env_file)
    except OSError as error:
        raise ConsoleError(f"{env_file} must be writable: {error}") from error
