"""What a person changes by hand while Nightreel runs: `python -m operators.gpu.switch`.

A GPU is taken out of service (its breaker opened) or put back, and a stage is sent to another device. Both are in
force at the next task, and both leave a row that says who and why.
"""

import argparse
import sys
from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy.exc import OperationalError

from operators.clean_text import printable_prose
from operators.database import Database, connect
from operators.errors import ChoiceInvalid, NightreelError
from operators.gpu.breaker_store import breakers, close_by_hand, open_by_hand
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.routing_store import set_routing
from operators.routing import GPU_STAGES, DevicePolicy
from stage_contract.vocabulary import Stage

NOBODY = "unknown"


class DeviceAction(StrEnum):
    """What is done to a device's breaker: opened, it gets no work; closed, it does."""

    OPEN = "open"
    CLOSE = "close"


def switch_device(
    database: Database, configuration: GpuConfiguration, device_uuid: str, action: DeviceAction, who: str, why: str
) -> str:
    """Take a GPU out of service, or put it back. Returns a sentence that says what holds now.

    Raises:
        ChoiceInvalid: there is no such GPU, or who or why is not said.
    """
    known = [device.uuid for device in configuration.devices]
    if not known:
        raise ChoiceInvalid(
            f"a GPU that is switched must be configured: {device_uuid} is not, for no GPU is; "
            "name it in NIGHTREEL_GPU_DEVICES in .env and run `make up`"
        )
    # One that was taken out of the configuration while its breaker was open may still be closed.
    if device_uuid not in known and not (action is DeviceAction.CLOSE and device_uuid in breakers(database)):
        raise ChoiceInvalid(f"a GPU that is switched must be one of {', '.join(known)}: {device_uuid} is none of them")
    if action is DeviceAction.OPEN:
        open_by_hand(database, device_uuid, who, why)
        return (
            f"{device_uuid} is out of service until its breaker is closed by hand; "
            "work that runs on it goes to the CPU, what it finished is kept"
        )
    close_by_hand(database, device_uuid, who, why)
    return f"{device_uuid} is in service; the next task may take it"


def route_stage(
    database: Database, configuration: GpuConfiguration, stage: Stage, policy: DevicePolicy, who: str, why: str
) -> str:
    """Send a stage to another device from its next task on. Returns a sentence that says what holds now.

    Raises:
        ChoiceInvalid: the stage has no GPU build, `gpu` can never be had for it, or who or why is not said.
    """
    if policy is DevicePolicy.GPU and stage in GPU_STAGES:
        _require_a_gpu(configuration, stage)
    change = set_routing(database, stage, policy, who, why)
    meaning = {
        DevicePolicy.AUTO: "takes a GPU where one is usable, and else the CPU",
        DevicePolicy.CPU: "runs on the CPU",
        DevicePolicy.GPU: "waits long for a GPU before it takes the CPU",
    }
    return f"{stage} {meaning[policy]} from its next task on ({policy}; it was {change.policy_before})"


def _require_a_gpu(configuration: GpuConfiguration, stage: Stage) -> None:
    if not configuration.devices:
        raise ChoiceInvalid(
            f"a stage routed to the GPU must have one: none is configured for {stage}; name one in "
            "NIGHTREEL_GPU_DEVICES in .env and run `make up`, or choose auto or cpu"
        )
    configuration.require_fit(stage, configuration.needs.get(stage, configuration.smallest_mib))


def _route_argument(text: str) -> tuple[Stage, DevicePolicy]:
    stage, _, policy = text.partition("=")
    if stage not in GPU_STAGES or policy not in set(DevicePolicy):
        raise argparse.ArgumentTypeError(
            f"must be STAGE=POLICY with {' or '.join(GPU_STAGES)} and {', '.join(DevicePolicy)}: it is {text!r}"
        )
    return Stage(stage), DevicePolicy(policy)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments ask for and say what holds now."""
    parser = argparse.ArgumentParser(prog="switch", description="Take a GPU out of service or back, route a stage.")
    wish = parser.add_mutually_exclusive_group(required=True)
    wish.add_argument("--open", metavar="UUID", help="take this GPU out of service")
    wish.add_argument("--close", metavar="UUID", help="put this GPU back into service")
    wish.add_argument("--route", metavar="STAGE=POLICY", type=_route_argument, help="auto, cpu or gpu for a stage")
    parser.add_argument("--why", required=True, help="recorded with the change")
    parser.add_argument("--who", default=NOBODY, help="recorded with the change")
    given = parser.parse_args(argv)
    try:
        configuration, database = GpuConfiguration.from_environment(), connect()
        if given.route:
            stage, policy = given.route
            told = route_stage(database, configuration, stage, policy, given.who, given.why)
        else:
            action = DeviceAction.OPEN if given.open else DeviceAction.CLOSE
            told = switch_device(database, configuration, given.open or given.close, action, given.who, given.why)
    except (NightreelError, OperationalError) as error:
        sys.stderr.write(f"{printable_prose(str(error))}\n")
        return 1
    sys.stdout.write(f"{printable_prose(told)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
