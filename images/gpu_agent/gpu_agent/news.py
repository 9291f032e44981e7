"""What changed from one look to the next, in words for the agent's log."""

from collections.abc import Sequence

from stage_contract.gpu_health import HealthReason, HealthVerdict, HostHealth

News = tuple[HealthVerdict, str]


def verdict_changes(before: HostHealth | None, after: HostHealth) -> list[News]:
    """The host and each device whose verdict changed: the new verdict, and a line that says why."""
    known = {device.device_uuid: device.verdict for device in before.devices} if before else {}
    lines = [
        (device.verdict, _line(f"{device.device_uuid} ({device.name})", device.verdict, device.reasons))
        for device in after.devices
        if known.get(device.device_uuid) is not device.verdict
    ]
    if before is None or before.verdict is not after.verdict:
        lines.insert(0, (after.verdict, _line("the host", after.verdict, after.reasons)))
    return lines


def _line(what: str, verdict: HealthVerdict, reasons: Sequence[HealthReason]) -> str:
    told = "; ".join(f"{reason.code}: {reason.message}" for reason in reasons)
    return f"{what} is {verdict}: {told}" if told else f"{what} is {verdict}"
