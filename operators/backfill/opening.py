"""What a run of `archive_backfill` was asked for: about what, and from when to when."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import docker
from pydantic import JsonValue, ValidationError

from operators.backfill.current_results import wanted
from operators.backfill.hours import NightHours, Window, next_window, window_at
from operators.backfill.scope import BackfillScope
from operators.backfill.store import NewBackfill
from operators.errors import ChoiceInvalid
from operators.gpu.configuration import GpuConfiguration
from operators.routing import DevicePolicy, has_gpu_build, with_prerequisites
from operators.run import RunRequest
from operators.run import refuse_impossible as refuse_impossible_run
from operators.stage_image import find_build
from operators.stage_plan import Build, full_parameters
from stage_contract.vocabulary import Stage, Variant


class NightClosed(ChoiceInvalid):
    """The run keeps to the night's hours, and they are not now."""


@dataclass(frozen=True)
class Asked:
    """The form's values, checked. `until` is a time of day in the nights' time zone; none: no end."""

    scope: BackfillScope
    is_dry: bool
    keeps_hours: bool
    until: time | None


def asked_for(params: Mapping[str, JsonValue], is_scheduled: bool) -> Asked:
    """The form's values. A scheduled run keeps to the night's hours, whatever the form says.

    Raises:
        ChoiceInvalid: one is malformed.
    """
    fields = {name: params[name] for name in BackfillScope.model_fields if params.get(name) is not None}
    try:
        scope = BackfillScope.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise ChoiceInvalid(
            f"{'.'.join(map(str, first['loc']))} must be as the form says: {first['msg']}; it is {first['input']!r}"
        ) from error
    return Asked(
        scope=scope,
        is_dry=bool(params.get("dry_run")),
        keeps_hours=is_scheduled or bool(params.get("in_window")),
        until=_time_of_day(str(params.get("until") or "")),
    )


def refuse_impossible(scope: BackfillScope, roots: Collection[str], gpus: GpuConfiguration) -> None:
    """Refuse what no run could do.

    Raises:
        ChoiceInvalid: a folder lies below no root, or a GPU is insisted on that can never be had.
    """
    named = [*scope.folders, *([scope.first_folder] if scope.first_folder else [])]
    for folder in named:
        if folder.partition("/")[0] not in roots:
            raise ChoiceInvalid(
                f"a folder must lie below {' or '.join(f'{root}/' for root in roots)}: {folder!r} does not; "
                "name it as the archive has it, such as archive/2024"
            )
    refuse_impossible_run(RunRequest((), scope.asset_ids, scope.stages, scope.device), gpus)


def window_for(
    asked: Asked, hours: NightHours | None, zone: ZoneInfo, now: datetime
) -> tuple[datetime, datetime | None]:
    """From when to when the backfill may launch; the end is none where there is none.

    Raises:
        NightClosed: it keeps to the night's hours, and no night is open.
        ChoiceInvalid: it keeps to the night's hours, and there are none.
    """
    night = _open_night(hours, now) if asked.keeps_hours else None
    opens_at = night.opens_at if night else now
    ends = [night.closes_at] if night else []
    if asked.until is not None:
        ends.append(_next(asked.until, zone, now))
    return opens_at, min(ends, default=None)


def new_backfill(
    dag_id: str, run_id: str, asked: Asked, window: tuple[datetime, datetime | None], client: docker.APIClient | None
) -> NewBackfill:
    """The backfill that this run opens. `client` is needed where results of other models are to be renewed."""
    builds = stage_builds(client, asked.scope) if client else {}
    return NewBackfill(dag_id, run_id, asked.scope, wanted(asked.scope, builds), *window)


def stage_builds(client: docker.APIClient, scope: BackfillScope) -> dict[Stage, list[Build]]:
    """Every way to run each stage whose results count for the scope's device.

    Raises:
        ChoiceInvalid: a stage has no image.
    """
    builds: dict[Stage, list[Build]] = {}
    for stage in with_prerequisites(scope.stages):
        parameters = full_parameters(stage, {"language": scope.language} if stage is Stage.TRANSCRIBE else {})
        variants = _variants(stage, scope.device)
        found = [find_build(client, stage, variant, parameters) for variant in variants]
        builds[stage] = [build for build in found if build]
        if not builds[stage]:
            raise ChoiceInvalid(
                f"a stage must have an image for its results to be told current or not: {stage} has none; "
                "build it with `make images`"
            )
    return builds


def _variants(stage: Stage, device: DevicePolicy) -> tuple[Variant, ...]:
    if not has_gpu_build(stage) or device is DevicePolicy.CPU:
        return (Variant.CPU,)
    # What insists on the GPU wants its results.
    return (Variant.CUDA,) if device is DevicePolicy.GPU else (Variant.CPU, Variant.CUDA)


def _open_night(hours: NightHours | None, now: datetime) -> Window:
    if hours is None:
        raise ChoiceInvalid(
            "a backfill that keeps to the night's hours needs nights: NIGHTREEL_NIGHT_DAYS is empty; set it in .env, "
            "such as mon-sun, and run `make up`, or start this one without"
        )
    night = window_at(hours, now)
    if night is None:
        opens_at = next_window(hours, now).opens_at.astimezone(hours.zone)
        raise NightClosed(
            f"nothing is done outside the night's hours: it is {now.astimezone(hours.zone):%Y-%m-%d %H:%M}, the next "
            f"night opens {opens_at:%Y-%m-%d %H:%M} ({hours.zone.key}); one that is started by hand without keeping to "
            "them begins at once"
        )
    return night


def _time_of_day(given: str) -> time | None:
    try:
        return time.fromisoformat(given) if given else None
    except ValueError as error:
        raise ChoiceInvalid(f"until must be a time of day such as 06:00, or empty: it is {given!r}") from error


def _next(at: time, zone: ZoneInfo, now: datetime) -> datetime:
    """The next instant at which clocks in the zone show this time."""
    local = now.astimezone(zone)
    days = (datetime.combine(local.date() + timedelta(days=day), at, zone).astimezone(UTC) for day in range(3))
    return next(instant for instant in days if instant > now)
