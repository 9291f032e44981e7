"""What can go wrong with the agent itself."""

from collections.abc import Sequence


class AgentError(Exception):
    """Any error of the agent's own."""


class SettingInvalid(AgentError):
    """A setting breaks its rule; the message tells which."""


class ChildHangs(AgentError):
    """A child did not answer in time."""


class ChildDied(AgentError):
    """A child ended, or broke off in the middle of an answer."""


class DevicesTakenAway(AgentError):
    """The container has lost its devices; only a start anew gives them back."""


class TooManyStuck(AgentError):
    """No more children are started: too many do not end."""

    def __init__(self, pids: Sequence[int]) -> None:
        super().__init__(f"{len(pids)} processes were killed and do not end: {', '.join(map(str, pids))}")
