"""When backfills go on by themselves: `python -m operators.backfill.next_night` prints one line."""

import sys
from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy.exc import OperationalError

from operators.backfill.hours import DAYS_SETTING, next_window, window_at
from operators.backfill.night_settings import NightSettings, archives
from operators.backfill.pause import Pause, find_pause
from operators.clean_text import printable_prose
from operators.database import connect
from operators.errors import NightreelError


def night_line(settings: NightSettings, pause: Pause | None, named: Collection[str], now: datetime) -> str:
    """What holds now: backfills are paused, there are no nights, one is open, or when the next one opens.

    `named` are the names of all archives; the line tells which of them nights leave out.
    """
    hours, zone = settings.hours, settings.zone

    def local(instant: datetime) -> str:
        return f"{instant.astimezone(zone):%Y-%m-%d %H:%M} ({zone.key})"

    if pause:
        by = f"by {pause.paused_by} since {local(pause.paused_at)}"
        return f"backfills are paused {by}: {pause.reason}; `make resume` lets them go on"
    if hours is None:
        return f"nights are off: {DAYS_SETTING} is empty; set it in .env, such as mon-sun, and run `make up`"
    night = window_at(hours, now)
    opening = "open until" if night else "the next one opens"
    instant = night.closes_at if night else next_window(hours, now).opens_at
    folders = settings.scope.folders
    left_out = [name for name in named if name not in {folder.partition("/")[0] for folder in folders}]
    told = f"; NIGHTREEL_NIGHT_FOLDERS leaves out {', '.join(left_out)}" if left_out else ""
    return f"{opening} {local(instant)}, over {', '.join(folders)}{told}"


def main() -> int:
    """Print it."""
    try:
        told = night_line(NightSettings.from_environment(), find_pause(connect()), archives(), datetime.now(UTC))
    except (NightreelError, OperationalError) as error:
        sys.stderr.write(f"{printable_prose(str(error))}\n")
        return 1
    sys.stdout.write(f"{printable_prose(told)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
