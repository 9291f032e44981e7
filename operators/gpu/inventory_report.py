"""The inventory of GPUs for a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from operators.clean_text import printable, printable_prose
from operators.gpu.breaker import Breaker, BreakerState
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.needs import Need, NeedSource
from operators.gpu.sharing import DeviceLine, Inventory, StageLine, fit_warnings
from operators.gpu.standing import HeldLease
from stage_contract.gpu_health import HealthVerdict

WIDTH = 100
VERDICT_COLOURS = {
    HealthVerdict.HEALTHY: "green",
    HealthVerdict.DEGRADED: "yellow",
    HealthVerdict.UNHEALTHY: "red",
    HealthVerdict.UNKNOWN: "red",
}
BREAKER_COLOURS = {BreakerState.CLOSED: "green", BreakerState.HALF_OPEN: "yellow", BreakerState.OPEN: "red"}
NO_GPU = (
    "No GPU is configured: every stage runs on the CPU.\n"
    "To use GPUs, put their UUIDs (`nvidia-smi -L` lists them) into NIGHTREEL_GPU_DEVICES in .env, with commas, "
    "and run `make up`."
)


def render(inventory: Inventory) -> RenderableType:
    """The whole inventory."""
    configuration = inventory.configuration
    if not configuration.devices:
        return Text(NO_GPU)
    parts: list[RenderableType] = [Rule(Text(_sharing(configuration), "bold"), align="left")]
    parts += [_device(line, configuration) for line in inventory.devices]
    parts.append(_stages(inventory.stages, configuration))
    parts += [Text(f"✗ {printable_prose(warning)}", "red") for warning in fit_warnings(inventory)]
    if any(_is_outdated(line) for line in inventory.stages):
        parts.append(Text("* what is known of the need has changed since; `make up` reckons the slots anew", "yellow"))
    return Group(*parts)


def _sharing(configuration: GpuConfiguration) -> str:
    count = len(configuration.devices)
    gpus = f"{count} GPU{'s' * (count > 1)}"
    slots = f"pool gpu has {configuration.slots} slot{'s' * (configuration.slots > 1)}"
    if configuration.whole_device:
        return f"{gpus}, {slots}: one per GPU, tasks take turns on it"
    return f"{gpus}, {slots} of {configuration.budget_mib} MiB"


def _device(line: DeviceLine, configuration: GpuConfiguration) -> RenderableType:
    device, standing = line.device, line.standing
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(
        "Memory",
        f"{device.vram_mib} MiB, {configuration.reserve_mib} in reserve, {device.capacity_mib} for stages in "
        f"{device.slots} slot{'s' * (device.slots > 1)}",
    )
    colour = VERDICT_COLOURS[standing.verdict]
    grid.add_row("Health", Text(printable_prose(_health(line)), colour))
    grid.add_row("Breaker", Text(printable_prose(_breaker(line.breaker)), BREAKER_COLOURS[line.breaker.state]))
    grid.add_row("Leased", _leases(line.leases))
    if standing.foreign_mib:
        grid.add_row("Others", Text(f"{standing.foreign_mib} MiB taken by other processes", "yellow"))
    name = f"  {standing.name}" if standing.name else ""
    title = Text(printable(f"{device.uuid}{name}"), "bold")
    return Panel(grid, title=title, title_align="left", border_style="dim", box=box.ROUNDED)


def _health(line: DeviceLine) -> str:
    # The message says the verdict first; what follows a full breaker's words is in its own row.
    message = line.standing.message
    told_here = line.standing.hindrance is None or line.standing.verdict not in (
        HealthVerdict.HEALTHY,
        HealthVerdict.DEGRADED,
    )
    return message.removeprefix("is ") if told_here else str(line.standing.verdict)


def _breaker(breaker: Breaker) -> str:
    match breaker.state:
        case BreakerState.CLOSED:
            return "closed"
        case BreakerState.HALF_OPEN:
            trial = (
                f"lease {breaker.trial_lease_id} is the trial" if breaker.trial_lease_id else "the next task tries it"
            )
            return f"half-open, {trial}: {breaker.reason}"
        case BreakerState.OPEN if breaker.half_opens_at:
            return f"open until {breaker.half_opens_at:%Y-%m-%d %H:%M:%S} UTC: {breaker.reason}"
        case _:
            return f"open until it is closed by hand; {breaker.changed_by}: {breaker.reason}"


def _leases(leases: Sequence[HeldLease]) -> Text:
    if not leases:
        return Text("nothing", "dim")
    lines = []
    for lease in leases:
        trial = ", a trial" if lease.is_trial else ""
        run = printable(f"{lease.dag_id} {lease.run_id}")
        lines.append(f"{lease.leased_mib} MiB by {lease.stage} of {run} since {lease.granted_at:%H:%M:%S} UTC{trial}")
    return Text("\n".join(lines))


def _stages(stages: Sequence[StageLine], configuration: GpuConfiguration) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Stage", overflow="fold", min_width=36)
    table.add_column("Routed")
    for name in ("Need", "Slots"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Known from", overflow="fold")
    table.add_column("Fits on", no_wrap=True)
    for line in stages:
        fits = f"{len(line.fits_on)} of {len(configuration.devices)}" if line.fits_on else "no GPU"
        table.add_row(
            Text.assemble(line.stage, "\n", (_work(line), "dim")),
            line.policy,
            f"{line.need.mib} MiB",
            f"{line.pool_slots}{'*' * _is_outdated(line)}",
            _source(line.need),
            fits,
            style="" if line.fits_on else "red",
        )
    return table


def _work(line: StageLine) -> str:
    if line.key is None:
        return "not built for GPUs; run `make images`"
    models = " + ".join(map(printable, line.key.models)) or "no model"
    return f"{models}, {line.key.compute_type}, batch {line.key.batch_size}"


def _source(need: Need) -> str:
    match need.source:
        case NeedSource.MEASURED:
            return f"measured, {need.measurements} runs"
        case NeedSource.TABLE:
            return "table"
        case NeedSource.UNKNOWN:
            return "unknown, a whole GPU"


def _is_outdated(line: StageLine) -> bool:
    return line.in_force_mib is not None and line.in_force_mib != line.need.mib
