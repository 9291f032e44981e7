"""The health as a table for a person."""

from collections.abc import Iterator

from stage_contract.gpu_health import DeviceHealth, HealthReason, HostHealth

NOT_TOLD = "-"
COLUMNS = ("device", "name", "verdict", "VRAM MiB", "use", "temperature", "power", "processes")


def table(health: HostHealth) -> str:
    """A line for the host, a table of its devices, and every reason in words."""
    return "\n".join(_lines(health)) + "\n"


def _lines(health: HostHealth) -> Iterator[str]:
    versions = {"driver": health.driver_version, "NVML": health.library_version, "CUDA": health.cuda_version}
    told = ", ".join(f"{name} {version or NOT_TOLD}" for name, version in versions.items())
    yield f"{health.verdict.upper()}   {told}"
    yield from _reasons(health.reasons, "  ")
    if not health.devices:
        return
    rows = [COLUMNS, *map(_row, health.devices)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield ""
    for number, row in enumerate(rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if number:
            yield from _reasons(health.devices[number - 1].reasons, "    ")


def _row(device: DeviceHealth) -> tuple[str, ...]:
    return (
        device.device_uuid,
        device.name,
        device.verdict,
        f"{_or_dash(device.used_mib)} of {_or_dash(device.total_mib)}",
        NOT_TOLD if device.utilization is None else f"{device.utilization:.0%}",
        NOT_TOLD if device.temperature_c is None else f"{device.temperature_c} °C",
        NOT_TOLD if device.power_w is None else f"{device.power_w:.0f} W",
        str(len(device.processes)),
    )


def _reasons(reasons: tuple[HealthReason, ...], indent: str) -> Iterator[str]:
    return (f"{indent}{reason.code}: {reason.message}" for reason in reasons)


def _or_dash(value: int | None) -> str:
    return NOT_TOLD if value is None else str(value)
