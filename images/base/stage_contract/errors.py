"""One tree of exceptions. What a stage raises decides its exit code."""

from stage_contract.vocabulary import DeviceFault, Reason


class StageError(Exception):
    """Anything a stage raises on purpose."""


class ItemRejected(StageError):
    """The item cannot be processed, now or later. The other items go on.

    `message` is for a person: the rule, the values found, the remedy.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class TransientFailure(StageError):
    """The same request may well succeed later (a full disk, a file system that went away)."""


class DeviceFailure(StageError):
    """The device failed, does not suit the build, or is out of memory.

    `message` is for a person: the rule, the values found, and which wheel, driver or setting to change.
    """

    def __init__(self, fault: DeviceFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class Terminated(BaseException):
    """The process was asked to stop. Not an `Exception`, so that no stage swallows it."""
