"""Archives beside the first and what scans take of them: settings, their rules, and what Compose mounts."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from console.setting_rules import INBOX, whole_number
from console.terminal import ConsoleError

# Whoever reads the archives, the API server to play them. Stage containers get them from the operators, who are told
# the paths.
READERS = ("scheduler", "api-server")
FIRST_ARCHIVE = "archive"
TAKEN_NAMES = (FIRST_ARCHIVE, INBOX)
ROOT_NAME = re.compile(r"[a-z0-9-]+")

SCAN_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("NIGHTREEL_SCAN_INCLUDE", "Files that scans take: shell patterns on root/path, with commas.", "*"),
    ("NIGHTREEL_SCAN_EXCLUDE", "Files and folders that they leave out, such as archive/tmp,*/proxies,*.txt.", ""),
    ("NIGHTREEL_SETTLE_S", "How long a file must rest until a scan takes it as written.", "600"),
)
"""Name, comment, first value."""


def more_archives(values: Mapping[str, str]) -> dict[str, Path]:
    """The folders of `NIGHTREEL_MORE_ARCHIVES` by their names as roots; none where it is empty.

    Raises:
        ConsoleError: a name or path breaks its rule.
    """
    given = values["NIGHTREEL_MORE_ARCHIVES"]
    found: dict[str, Path] = {}
    for part in given.split(",") if given else ():
        root, equals, path = part.partition("=")
        if not equals or not ROOT_NAME.fullmatch(root):
            raise ConsoleError(
                "NIGHTREEL_MORE_ARCHIVES must be names and folders such as tapes=/mnt/tapes,news=/srv/news, names of "
                f"lower-case letters, digits and -: {part!r} is none; change it in .env"
            )
        if root in TAKEN_NAMES or root in found:
            raise ConsoleError(
                f"NIGHTREEL_MORE_ARCHIVES must use each name once, and not {' or '.join(TAKEN_NAMES)}: {root!r} is "
                "taken; change it in .env"
            )
        if not Path(path).is_absolute() or ".." in Path(path).parts:
            raise ConsoleError(
                f"NIGHTREEL_MORE_ARCHIVES must name folders by absolute paths: {root}={path} does not; change it "
                "in .env"
            )
        found[root] = Path(path)
    return found


def check_scan(values: Mapping[str, str]) -> None:
    """Hold the settings of archives and scans against their rules.

    Raises:
        ConsoleError: a value breaks its rule.
    """
    more_archives(values)
    whole_number(values, "NIGHTREEL_SETTLE_S", least=0)
    if not values["NIGHTREEL_SCAN_INCLUDE"].replace(",", "").strip():
        raise ConsoleError("NIGHTREEL_SCAN_INCLUDE must have a pattern: it has none; put * into .env to take all files")
    for name in ("NIGHTREEL_SCAN_INCLUDE", "NIGHTREEL_SCAN_EXCLUDE"):
        for pattern in values[name].split(","):
            if pattern.strip().startswith("/"):
                raise ConsoleError(
                    f"{name} must have patterns on root/path, such as archive/tmp/*: {pattern.strip()!r} begins "
                    "with /, as no root does; change it in .env"
                )


def require_folders(archives: Mapping[str, Path]) -> None:
    """Refuse folders that are not there.

    Raises:
        ConsoleError: one is not.
    """
    for root, folder in archives.items():
        if not folder.is_dir():
            raise ConsoleError(
                f"NIGHTREEL_MORE_ARCHIVES must name folders: {root}={folder} is none; mount it, or change it in .env"
            )


def write_compose_file(file: Path, archives: Mapping[str, Path]) -> bool:
    """Write what mounts the archives into their readers. Returns whether there are any; without, the file is removed.

    Raises:
        ConsoleError: it cannot be written.
    """
    volumes = [
        {
            "type": "bind",
            # Compose puts variables in where it finds a dollar sign.
            "source": str(folder).replace("$", "$$"),
            "target": f"/media/{root}",
            "read_only": True,
            "bind": {"create_host_path": False},
        }
        for root, folder in archives.items()
    ]
    try:
        if not volumes:
            file.unlink(missing_ok=True)
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        told = {"services": {service: {"volumes": volumes} for service in READERS}}
        file.write_text(f"# Made by `make up` from NIGHTREEL_MORE_ARCHIVES.\n{json.dumps(told, indent=2)}\n")
    except OSError as error:
        raise ConsoleError(f"{file} must be writable: {error}") from error
    return True
