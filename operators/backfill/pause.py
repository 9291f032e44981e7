"""Pausing and resuming backfills: `python -m operators.backfill.pause --pause --who … --why …`.

While they are paused nothing is launched, running shards step aside and scans wait; what they finished is kept. Other
runs go on.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum

from sqlalchemy.exc import OperationalError

from operators.backfill.night_settings import NightSettings
from operators.clean_text import printable_prose, storable
from operators.database import Database, connect, transaction
from operators.errors import ChoiceInvalid, NightreelError
from operators.queries import query

NOBODY = "unknown"


class PauseAction(StrEnum):
    """What is done to all backfills."""

    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True)
class Pause:
    """A pause in force."""

    paused_at: datetime
    paused_by: str
    reason: str


def find_pause(database: Database) -> Pause | None:
    """The pause in force; none while backfills go on."""
    with transaction(database) as connection:
        row = connection.execute(query("find_pause")).first()
    return Pause(*row) if row else None


def switch_backfills(database: Database, action: PauseAction, who: str, why: str, zone: tzinfo = UTC) -> str:
    """Pause or resume all backfills. Returns a sentence that says what holds now, with times in `zone`.

    Raises:
        ChoiceInvalid: who is not said, or why not when pausing.
    """
    if not who.strip() or (action is PauseAction.PAUSE and not why.strip()):
        raise ChoiceInvalid(
            f'a change must name who and why: who is {who!r}, why is {why!r}; say both, such as WHY="disks are moved"'
        )
    now = datetime.now(UTC)
    with transaction(database) as connection:
        if action is PauseAction.RESUME:
            resumed = connection.execute(query("resume_backfills"), {"at": now, "who": storable(who)}).first()
            return "backfills go on" if resumed else "backfills were not paused; they go on"
        row = {"at": now, "who": storable(who), "why": storable(why)}
        if connection.execute(query("pause_backfills"), row).first():
            return (
                "backfills are paused: nothing is launched, scans wait, running shards step aside after the file they "
                "are at; what they finished is kept"
            )
        held = Pause(*connection.execute(query("find_pause")).one())
    since = f"{held.paused_at.astimezone(zone):%Y-%m-%d %H:%M}"
    return f"backfills are paused already, by {held.paused_by} since {since}: {held.reason}"


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="pause", description="Pause backfills, or let them go on.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--pause", dest="action", action="store_const", const=PauseAction.PAUSE)
    action.add_argument("--resume", dest="action", action="store_const", const=PauseAction.RESUME)
    parser.add_argument("--who", required=True, help="your name, for the record")
    parser.add_argument("--why", default="", help="the reason, for the record")
    arguments = parser.parse_args(argv)
    try:
        zone = NightSettings.from_environment().zone
        told = switch_backfills(connect(), arguments.action, arguments.who, arguments.why, zone)
    except (NightreelError, OperationalError) as error:
        sys.stderr.write(f"{printable_prose(str(error))}\n")
        return 1
    sys.stdout.write(f"{printable_prose(told)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
