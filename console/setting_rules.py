"""The rules that values of `.env` keep; each refusal names the rule, the value and where to change it."""

import re
from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from console.terminal import ConsoleError

# NVIDIA's names: GPU-<uuid> and MIG-<uuid>.
DEVICE = re.compile(r"(GPU|MIG)-[0-9A-Za-z]+(-[0-9A-Za-z]+)*")
# What drivers before 470 called a slice: MIG-GPU-<uuid>/1/0.
OLD_SLICE = "MIG-GPU-"
ADDRESS = re.compile(r"https?://[^\s/]+(/\S*)?")
NEED = re.compile(r"[a-z]+\.[a-z]+=\d+")
TIME = r"([01]?\d|2[0-3]):[0-5]\d"
HOURS = re.compile(f"{TIME}-{TIME}")
DAY = "(mon|tue|wed|thu|fri|sat|sun)"
DAYS = re.compile(f"({DAY}(-{DAY})?(,{DAY}(-{DAY})?)*)?")
FOLDER = r"[a-z0-9-]+(/[^,/]+)*/?"
# The one root that is no archive.
INBOX = "inbox"


def whole_number(values: Mapping[str, str], name: str, least: int) -> int:
    """A whole number of at least `least`.

    Raises:
        ConsoleError: it is none.
    """
    value = values[name]
    if not re.fullmatch(r"\d+", value) or int(value) < least:
        raise ConsoleError(f"{name} must be a whole number of at least {least}: it is {value!r}; change it in .env")
    return int(value)


def positive_number(values: Mapping[str, str], name: str) -> float:
    """A number above 0, with or without decimals.

    Raises:
        ConsoleError: it is none.
    """
    if not re.fullmatch(r"\d+(\.\d+)?", values[name]) or float(values[name]) <= 0:
        raise ConsoleError(f"{name} must be a number above 0: it is {values[name]!r}; change it in .env")
    return float(values[name])


def port(values: Mapping[str, str], name: str) -> int:
    """A TCP port.

    Raises:
        ConsoleError: it is none.
    """
    number = whole_number(values, name, least=1)
    if number > 65535:
        raise ConsoleError(f"{name} must be a port, 1 to 65535: it is {number}; change it in .env")
    return number


def gpu_devices(values: Mapping[str, str]) -> tuple[str, ...]:
    """The UUIDs of `NIGHTREEL_GPU_DEVICES`; none where it is empty.

    Raises:
        ConsoleError: one has another form, or is there twice.
    """
    given = values["NIGHTREEL_GPU_DEVICES"]
    devices = tuple(given.split(",")) if given else ()
    for device in devices:
        times = devices.count(device)
        if device.startswith(OLD_SLICE):
            raise ConsoleError(
                f"NIGHTREEL_GPU_DEVICES must be UUIDs such as GPU-1a2b… or MIG-3c4d…: {device} is what drivers before "
                "470 call a slice; a newer driver names slices MIG-<uuid>: install one, take the name from "
                "`nvidia-smi -L` and change it in .env"
            )
        if not DEVICE.fullmatch(device):
            raise ConsoleError(
                "NIGHTREEL_GPU_DEVICES must be UUIDs such as GPU-1a2b… or MIG-3c4d…, with commas and no spaces: "
                f"{device!r} is none; take them from `nvidia-smi -L` and change it in .env"
            )
        if times > 1:
            raise ConsoleError(
                f"NIGHTREEL_GPU_DEVICES must be UUIDs, each once: {device} is there {times} times; change it in .env"
            )
    return devices


def check_gpu(values: Mapping[str, str]) -> None:
    """Hold the settings of GPUs against their rules.

    Raises:
        ConsoleError: a value breaks its rule.
    """
    gpu_devices(values)
    for name in ("RESERVE_MIB", "BUDGET_MIB", "SLOTS"):
        whole_number(values, f"NIGHTREEL_GPU_{name}", least=0)
    for name in ("PATIENCE_S", "BREAKER_WAIT_S"):
        positive_number(values, f"NIGHTREEL_GPU_{name}")
    sizes = values["NIGHTREEL_GPU_VRAM_MIB"]
    if sizes and not all(re.fullmatch(r"[1-9]\d*", size) for size in sizes.split(",")):
        raise ConsoleError(
            "NIGHTREEL_GPU_VRAM_MIB must be empty or the MiB of each device, with commas, such as 8192,24576: "
            f"it is {sizes!r}; change it in .env"
        )
    needs = values["NIGHTREEL_GPU_NEEDS"]
    if needs and not all(NEED.fullmatch(need) for need in needs.split(",")):
        raise ConsoleError(
            "NIGHTREEL_GPU_NEEDS must be empty or MiB by stage, with commas, such as audio.transcribe=4608: "
            f"it is {needs!r}; empty it in .env, `make up` reckons it"
        )
    if not ADDRESS.fullmatch(values["NIGHTREEL_GPU_AGENT_URL"]):
        raise ConsoleError(
            "NIGHTREEL_GPU_AGENT_URL must be an address such as http://gpu-agent:9410: "
            f"it is {values['NIGHTREEL_GPU_AGENT_URL']!r}; change it in .env"
        )


def check_night(values: Mapping[str, str], archives: Sequence[str]) -> None:
    """Hold the settings of nights against their rules. `archives` are the names of all archives.

    Raises:
        ConsoleError: a value breaks its rule.
    """
    one_of = {"NIGHTREEL_NIGHT_ORDER": ("newest", "oldest", "shortest"), "NIGHTREEL_RENEW": ("0", "1")}
    for name, choices in one_of.items():
        if values[name] not in choices:
            raise ConsoleError(f"{name} must be one of {', '.join(choices)}: it is {values[name]!r}; change it in .env")
    forms = {
        "NIGHTREEL_NIGHT_HOURS": (HOURS, "two times of day, such as 22:00-06:00"),
        "NIGHTREEL_NIGHT_DAYS": (DAYS, "empty or days, such as mon-fri,sun"),
        "NIGHTREEL_NIGHT_FIRST": (re.compile(f"({FOLDER})?"), "empty or a folder such as archive/news"),
        "NIGHTREEL_NIGHT_FOLDERS": (
            re.compile(f"({FOLDER}(,{FOLDER})*)?"),
            "empty or folders such as archive/2024, with commas and no spaces",
        ),
    }
    for name, (form, rule) in forms.items():
        if not form.fullmatch(values[name]):
            raise ConsoleError(f"{name} must be {rule}: it is {values[name]!r}; change it in .env")
    positive_number(values, "NIGHTREEL_SHARD_MINUTES")
    zone = values["NIGHTREEL_TIME_ZONE"]
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConsoleError(
            f"NIGHTREEL_TIME_ZONE must be a time zone of the IANA database, such as Europe/Berlin: it is {zone!r}; "
            "change it in .env"
        ) from error
    _check_folders(values, archives)


def _check_folders(values: Mapping[str, str], archives: Sequence[str]) -> None:
    folders, first = (
        [folder.rstrip("/") for folder in values[name].split(",") if folder]
        for name in ("NIGHTREEL_NIGHT_FOLDERS", "NIGHTREEL_NIGHT_FIRST")
    )
    roots = [*archives, INBOX]
    for name, named in (("NIGHTREEL_NIGHT_FOLDERS", folders), ("NIGHTREEL_NIGHT_FIRST", first)):
        for folder in named:
            root, *path = folder.split("/")
            if root not in roots or {".", ".."} & set(path):
                raise ConsoleError(
                    f"{name} must lie in one of {', '.join(roots)}, without . and ..: {folder!r} does not; change it "
                    "in .env, or name its archive in NIGHTREEL_MORE_ARCHIVES"
                )
    about = folders or archives
    for folder in first:
        if not any(_is_in(folder, other) or _is_in(other, folder) for other in about):
            raise ConsoleError(
                f"NIGHTREEL_NIGHT_FIRST must lie in what nights are about, {', '.join(about)}: {folder!r} does not, "
                "and no night would come to it; change it in .env, or add it to NIGHTREEL_NIGHT_FOLDERS"
            )


def _is_in(folder: str, other: str) -> bool:
    return f"{folder}/".startswith(f"{other}/")
