"""What the deployment says about nights, from the environment that Compose sets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from operators.backfill.hours import HOURS_SETTING, ZONE_SETTING, NightHours, parse_hours
from operators.backfill.scope import BackfillScope, Order
from operators.errors import ChoiceInvalid
from operators.settings import more_archives

DEFAULT_HOURS = "22:00-06:00"
DEFAULT_ZONE = "UTC"
DEFAULT_SHARD_MINUTES = 20.0
WHOLE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class NightSettings:
    """When nights are, what they are about, and how much one run takes. `hours` none: only by hand.

    `night` is how long a night is, or would be were there any; not counting that clocks change.
    """

    hours: NightHours | None
    night: timedelta
    zone: ZoneInfo
    scope: BackfillScope
    shard_minutes: float
    cpu_slots: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "NightSettings":
        """The settings; what is not set is as `make up` would set it.

        Raises:
            ChoiceInvalid: one is malformed.
        """
        zone = environ.get(ZONE_SETTING) or DEFAULT_ZONE
        window = environ.get(HOURS_SETTING) or DEFAULT_HOURS
        return cls(
            hours=parse_hours(window, environ.get("NIGHTREEL_NIGHT_DAYS", ""), zone),
            # This and the zone were checked by the line before.
            night=_length(window),
            zone=ZoneInfo(zone.strip()),
            scope=_scope(environ),
            shard_minutes=_number(environ, "NIGHTREEL_SHARD_MINUTES", DEFAULT_SHARD_MINUTES),
            cpu_slots=int(_number(environ, "NIGHTREEL_CPU_SLOTS", 1)),
        )


def _length(window: str) -> timedelta:
    opens, closes = (
        timedelta(hours=int(hour), minutes=int(minute))
        for hour, _, minute in (end.partition(":") for end in window.split("-"))
    )
    return (closes - opens) % WHOLE_DAY or WHOLE_DAY


def archives(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The names of all archives: what nights are about unless the settings say otherwise. The inbox is none."""
    return ("archive", *more_archives(environ))


def _scope(environ: Mapping[str, str]) -> BackfillScope:
    order = environ.get("NIGHTREEL_NIGHT_ORDER") or Order.NEWEST
    if order not in set(Order):
        raise ChoiceInvalid(
            f"NIGHTREEL_NIGHT_ORDER must be one of {', '.join(Order)}: found {order!r}; correct it in .env"
        )
    folders = tuple(part.strip() for part in environ.get("NIGHTREEL_NIGHT_FOLDERS", "").split(",") if part.strip())
    return BackfillScope(
        folders=folders or archives(environ),
        first_folder=environ.get("NIGHTREEL_NIGHT_FIRST", "").strip(),
        order=Order(order),
        renew=environ.get("NIGHTREEL_RENEW", "0").strip() == "1",
    )


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    given = environ.get(name, "").strip()
    try:
        number = float(given) if given else default
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ChoiceInvalid(f"{name} must be a number above 0: found {given!r}; correct it in .env")
    return number
