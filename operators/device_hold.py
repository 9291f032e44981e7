"""The device that a container computes on, for as long as it runs."""

from operators.container import CPU
from operators.stage_container import StageContainer
from operators.stage_plan import Verdict
from stage_contract.vocabulary import DeviceFault


class DeviceHold:
    """The device that a container computes on, for as long as it runs. This one is the CPU: nothing to hold."""

    device = CPU
    need_mib = 0
    batch_size: int | None = None
    """Pictures or windows at a time that the device's memory was leased for; none where it limits nothing."""

    @property
    def lost(self) -> Verdict | None:
        """The verdict on the task when the device may not be used any more; none while it may."""
        return None

    @property
    def is_given_up(self) -> bool:
        """Whether the container was stopped for a lost device, and has had its time to end."""
        return False

    def attend(self, container: StageContainer) -> None:
        """This container is about to start, or runs already."""

    def confirm(self) -> None:
        """The container runs."""

    def conclude(self, verdict: Verdict, fault: DeviceFault | None) -> None:
        """The container has ended: what that says of the device."""
