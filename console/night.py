"""The settings of nights: their names, what `.env` says beside them, and their first values."""

import os
from pathlib import Path

GROUP = "Nights"
ZONE_FILES = (Path("/etc/timezone"), Path("/etc/localtime"))
ZONE_FOLDER = "zoneinfo/"


def machine_time_zone(timezone_file: Path = ZONE_FILES[0], localtime: Path = ZONE_FILES[1]) -> str:
    """The machine's time zone by its name in the IANA database; UTC where it does not tell."""
    given = os.environ.get("TZ", "").removeprefix(":")
    if "/" in given and not given.startswith("/"):
        return given
    if timezone_file.is_file() and (named := timezone_file.read_text().strip()):
        return named
    _, found, zone = str(localtime.resolve()).rpartition(ZONE_FOLDER)
    return zone if found and localtime.exists() else "UTC"


NIGHT_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("NIGHTREEL_NIGHT_DAYS", "Days on whose evening a night begins, such as mon-sun. Empty: none, only by hand.", ""),
    ("NIGHTREEL_NIGHT_HOURS", "From when to when backfills launch work, by the clock there.", "22:00-06:00"),
    ("NIGHTREEL_NIGHT_ORDER", "What goes first: newest, oldest or shortest.", "newest"),
    ("NIGHTREEL_NIGHT_FOLDERS", "What nights are about, with commas. Empty: all archives, not the inbox.", ""),
    ("NIGHTREEL_NIGHT_FIRST", "A folder that goes before everything else. Empty: none.", ""),
    ("NIGHTREEL_RENEW", "Whether new models make old results stale, to be made anew by nights: 0 or 1.", "0"),
    ("NIGHTREEL_SHARD_MINUTES", "How much work one run of a backfill holds at most.", "20"),
)  # fmt: skip
"""Name, comment, first value. The time zone is the machine's and stands apart."""
