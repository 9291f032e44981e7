"""The page of the GPUs, and what a person may change there: a breaker, and where a stage runs."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from nightreel_ui.access import MAY_SEE, Person, acts_as, may_start
from nightreel_ui.database import MediaDatabase
from nightreel_ui.links import airflow_base
from nightreel_ui.notice import LONGEST_REASON, act, find_notice, forget_notice
from nightreel_ui.page import page
from nightreel_ui.paging import ROWS, PageNumber, cut, offset
from operators.errors import NightreelError
from operators.gpu.agent_client import ask_agent_async
from operators.gpu.breaker_store import breaker_changes
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.routing_store import routing_changes
from operators.gpu.switch import DeviceAction, route_stage, switch_device
from operators.routing import DevicePolicy
from operators.views.devices import STEPS, read_devices
from operators.views.vram import outline
from stage_contract.gpu_health import HealthVerdict, HostHealth
from stage_contract.vocabulary import Stage

# A page must be there within a second, whatever the agent does; it answers from memory, in milliseconds.
AGENT_DEADLINE_S = 0.5
LATEST = 5
"""Changes that the page itself shows; the others have a page of their own."""

HOURS = (6, 24, 72)
"""Spans of time that the charts may show."""

TICKS = 4
PATH = "/devices"

router = APIRouter(prefix=PATH, dependencies=[MAY_SEE])


def gpus() -> GpuConfiguration:
    """The configured GPUs. What is wrong with the settings is said to whoever looks."""
    try:
        return GpuConfiguration.from_environment()
    except NightreelError as error:
        raise HTTPException(500, str(error)) from error


Gpus = Annotated[GpuConfiguration, Depends(gpus)]
Reason = Annotated[str, Form()]


async def ask_health(configuration: Gpus) -> HostHealth:
    """What the agent says; without GPUs there is none to ask."""
    if not configuration.devices:
        return HostHealth(observed_at=datetime.now(UTC), verdict=HealthVerdict.UNKNOWN)
    return await ask_agent_async(configuration.agent_url, AGENT_DEADLINE_S)


@router.get("", response_class=HTMLResponse)
def show_devices(
    request: Request,
    person: Person,
    database: MediaDatabase,
    configuration: Gpus,
    health: Annotated[HostHealth, Depends(ask_health)],
    hours: Annotated[Literal["6", "24", "72"], Query()] = "6",
) -> HTMLResponse:
    """All GPUs, their leases, and the routing."""
    now, span = datetime.now(UTC), int(hours)
    context = {
        "view": read_devices(database, configuration, health, now, span),
        "gpus": configuration,
        "health": health,
        "now": now,
        "hours": span,
        "spans": HOURS,
        "ticks": [now - timedelta(hours=span) * (TICKS - tick) / TICKS for tick in range(TICKS + 1)],
        "breaker_changes": breaker_changes(database, limit=LATEST),
        "routing_changes": routing_changes(database, limit=LATEST),
        "policies": list(DevicePolicy),
        "may_switch": may_start(person, "switch_gpu"),
        "may_route": may_start(person, "route_stages"),
        "longest_reason": LONGEST_REASON,
        "steps": STEPS,
        "outline": outline,
        "notice": find_notice(request),
        "airflow": airflow_base(request),
    }
    shown = page(request, "devices.html", context)
    forget_notice(shown)
    return shown


@router.get("/history", response_class=HTMLResponse)
def show_history(
    request: Request, database: MediaDatabase, of: Literal["breakers", "routing"] = "breakers", number: PageNumber = 1
) -> HTMLResponse:
    """All changes of breakers, or of the routing, in pages."""
    read = breaker_changes if of == "breakers" else routing_changes
    changes, place = cut(read(database, limit=ROWS + 1, offset=offset(number)), number)
    return page(request, "devices_history.html", {"of": of, "changes": changes, "place": place})


@router.post("/breaker", dependencies=acts_as("switch_gpu"))
def change_breaker(
    request: Request,
    person: Person,
    database: MediaDatabase,
    configuration: Gpus,
    device: Annotated[str, Form()],
    action: Annotated[DeviceAction, Form()],
    reason: Reason = "",
) -> RedirectResponse:
    """Take a GPU out of service, or put it back."""
    who = person.get_name()
    return act(request, PATH, reason, lambda why: switch_device(database, configuration, device, action, who, why))


@router.post("/routing", dependencies=acts_as("route_stages"))
def change_routing(
    request: Request,
    person: Person,
    database: MediaDatabase,
    configuration: Gpus,
    stage: Annotated[Stage, Form()],
    policy: Annotated[DevicePolicy, Form()],
    reason: Reason = "",
) -> RedirectResponse:
    """Send a stage elsewhere from its next task on."""
    who = person.get_name()
    return act(request, PATH, reason, lambda why: route_stage(database, configuration, stage, policy, who, why))
