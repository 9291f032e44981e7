"""When an asset that failed is tried again. Decides; does no I/O."""

from datetime import datetime, timedelta

from operators.backfill.hours import NightHours, next_window

NIGHTS_TO_WAIT = (1, 2, 4)
"""After the first, second and third failure; after the next one the asset is parked."""

MOST_RETURNS = 3
"""An asset that came back so often from runs that did not come to it has failed."""

# A person who starts backfills by hand does so at about the same time each day.
EARLIER = timedelta(hours=1)


def after_failure(failures: int, failed_at: datetime, hours: NightHours | None) -> datetime | None:
    """When an asset that has failed `failures` times, last at `failed_at`, may be tried again; none: it is parked.

    It waits for the first, second or fourth night to come, and is ready when that one opens. Without nights it
    waits as many days, less an hour.
    """
    if failures > len(NIGHTS_TO_WAIT):
        return None
    nights = NIGHTS_TO_WAIT[failures - 1]
    if hours is None:
        return failed_at + timedelta(days=nights) - EARLIER
    ready_at = failed_at
    for _ in range(nights):
        ready_at = next_window(hours, ready_at).opens_at
    return ready_at
