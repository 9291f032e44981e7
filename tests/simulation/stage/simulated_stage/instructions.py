"""What a media file's text tells a stage to do."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from stage_contract.errors import StageError
from stage_contract.vocabulary import Reason, Stage, Variant


class Action(StrEnum):
    """What a stage can be told. An argument stands behind it.

    `sleep S`: work for S seconds. `take MIB`: hold that much VRAM from now on, on cuda. `oom [N]`: run out
    of VRAM the first N times in a container, once when not said; `oom-always`: each time. `broken`,
    `unsuitable`: give the device up for that reason. `reject REASON`: refuse the file. `crash`: an error of
    ours. `transient`: a failure that may pass. `die`: be killed, as by a decoder's crash.
    """

    SLEEP = "sleep"
    TAKE = "take"
    OOM = "oom"
    OOM_ALWAYS = "oom-always"
    BROKEN = "broken"
    UNSUITABLE = "unsuitable"
    REJECT = "reject"
    CRASH = "crash"
    TRANSIENT = "transient"
    DIE = "die"


LINE = re.compile(
    rf"(?P<stage>{'|'.join(re.escape(stage) for stage in Stage)})"
    rf"(?:\s+(?P<variant>{'|'.join(Variant)}))?\s*:\s*(?P<action>\S+)(?:\s+(?P<argument>\S+))?\s*"
)
BEGINS_WITH_A_STAGE = re.compile("|".join(re.escape(stage) for stage in Stage))


@dataclass(frozen=True)
class Instruction:
    """One thing to do. `argument` is seconds, a count or a reason, as the action has it."""

    action: Action
    argument: str = ""


# The argument of each action that takes one: what it must be, and whether it is.
ARGUMENTS: dict[Action, tuple[str, Callable[[str], bool]]] = {
    Action.SLEEP: ("seconds", lambda text: re.fullmatch(r"\d+(\.\d+)?", text) is not None),
    Action.TAKE: ("MiB", str.isdecimal),
    Action.OOM: ("a count, or nothing", lambda text: re.fullmatch(r"\d*", text) is not None),
    Action.REJECT: (f"one of {', '.join(Reason)}", lambda text: text in set(Reason)),
}
NOTHING: tuple[str, Callable[[str], bool]] = ("nothing", lambda text: text == "")


def read_instructions(text: str, stage: Stage, variant: Variant) -> list[Instruction]:
    """What `text` tells this stage on this variant, in its order.

    Raises:
        StageError: a line begins with a stage's name and is no instruction.
    """
    return [
        instruction
        for line in text.splitlines()
        if BEGINS_WITH_A_STAGE.match(line)
        for instruction in _read_line(line, stage, variant)
    ]


def _read_line(line: str, stage: Stage, variant: Variant) -> list[Instruction]:
    found = LINE.fullmatch(line)
    if found is None or found["action"] not in set(Action):
        raise StageError(
            f"an instruction must be `STAGE [cpu|cuda]: ACTION [ARGUMENT]` with an action of {', '.join(Action)}: "
            f"{line!r} is none; change the media file"
        )
    action, argument = Action(found["action"]), found["argument"] or ""
    wanted, suits = ARGUMENTS.get(action, NOTHING)
    if not suits(argument):
        raise StageError(f"{action} must be followed by {wanted}: {line!r} is not; change the media file")
    is_meant = found["stage"] == stage and found["variant"] in (None, variant)
    return [Instruction(action, argument)] if is_meant else []
