"""What a stage has to do in a run, and what the end of its container means. Decides; does no I/O of its own
beyond looking whether a result is there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from operators.routing import INPUTS
from operators.shard import USABLE, Shard, StageIndex, StageItem
from stage_contract.fingerprint import fingerprint
from stage_contract.models import ModelRef
from stage_contract.parameters import PARAMETERS
from stage_contract.phases import PHASES_FILE
from stage_contract.request import RequestItem
from stage_contract.result import OUTCOME_FILE, StageOutcome, read_result, result_dir
from stage_contract.runner import CURRENT_ITEM_FILE, STEP_ASIDE_FILE
from stage_contract.vocabulary import ExitCode, ItemOutcome, Stage

FIRST_DOCKER_CODE = 126
DEATHS_BEFORE_GIVING_UP = 2
STOPPED_FILE = "stopped"
"""Left in a try's folder by whoever stops its container on purpose."""
OF_ONE_CONTAINER = (OUTCOME_FILE, PHASES_FILE, CURRENT_ITEM_FILE, STEP_ASIDE_FILE, STOPPED_FILE)
"""Files of a try's folder that speak of one container, and must not be taken for the next one's."""


@dataclass(frozen=True)
class StageImage:
    """An image as the engine holds it. `models` are those that decide this stage's output."""

    name: str
    digest: str
    stage_version: str
    models: tuple[ModelRef, ...]


@dataclass(frozen=True)
class StageChoice:
    """How the stage is to run: everything besides the media that decides its output."""

    stage: Stage
    compute_type: str
    parameters: Mapping[str, JsonValue]
    smaller_compute_type: str | None = None
    """What the stage may go on with when its device is out of memory; its results are as good."""


Build = tuple[StageChoice, StageImage]
"""One way to run a stage: how, and in which image."""


@dataclass(frozen=True)
class StagePlan:
    """`complete` has results already; `waiting` needs the container."""

    complete: dict[str, StageItem]
    waiting: tuple[RequestItem, ...]


class Action(StrEnum):
    """What becomes of the Airflow task. `step_aside`: it is deferred, and goes on in the same try."""

    SUCCEED = "succeed"
    SKIP = "skip"
    RETRY = "retry"
    FAIL = "fail"
    STEP_ASIDE = "step_aside"


class AttemptOutcome(StrEnum):
    """How one attempt at a task ended, as recorded."""

    RUNNING = "running"
    DONE = "done"
    REUSED = "reused"
    REJECTED = "rejected"
    STEPPED_ASIDE = "stepped_aside"
    TRANSIENT = "transient"
    DEVICE_FAILED = "device_failed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    MOVED = "moved"


@dataclass(frozen=True)
class Verdict:
    """What the end of a container means. `message` tells a person what happened and what to do."""

    action: Action
    outcome: AttemptOutcome
    message: str


def full_parameters(stage: Stage, given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`given` checked, and defaults filled in, so that leaving a default out changes no fingerprint."""
    parameters: dict[str, JsonValue] = PARAMETERS[stage].model_validate(given).model_dump(mode="json")
    return parameters


def plan_stage(
    results: Path,
    shard: Shard,
    upstream: Mapping[Stage, StageIndex | None],
    build: Build,
    others: Sequence[Build] = (),
) -> StagePlan:
    """Split the shard's assets into those with a complete result and those still to do.

    `build` is what would run; results that one of `others` made are as good. An asset without a usable
    result of a stage that this one reads is left out: what became of it stands in that stage's index.
    """
    choice = build[0]
    complete: dict[str, StageItem] = {}
    waiting: list[RequestItem] = []
    for item in shard.items:
        inputs = usable_inputs(item.asset_id, choice.stage, upstream)
        if inputs is None:
            continue
        names = [name for one in (build, *others) for name in build_fingerprints(one, inputs)]
        found = _first_complete(results, item.asset_id, choice.stage, names)
        if found:
            complete[item.asset_id] = found
            continue
        waiting.append(
            RequestItem(
                asset_id=item.asset_id,
                source=item.source,
                size_bytes=item.size_bytes,
                mtime_ns=item.mtime_ns,
                fingerprint=names[0],
                inputs=inputs,
                smaller_fingerprint=names[1] if choice.smaller_compute_type else None,
            )
        )
    return StagePlan(complete, tuple(waiting))


def build_fingerprints(build: Build, inputs: Mapping[Stage, str]) -> list[str]:
    """The fingerprint of what a build makes as asked, then of what it makes in its smaller compute type."""
    choice, image = build
    compute_types = [choice.compute_type, *filter(None, [choice.smaller_compute_type])]
    return [
        fingerprint(choice.stage, image.stage_version, image.models, compute_type, choice.parameters, inputs)
        for compute_type in compute_types
    ]


def _first_complete(results: Path, asset_id: str, stage: Stage, names: Sequence[str]) -> StageItem | None:
    found = (find_complete(results, asset_id, stage, name) for name in names)
    return next((item for item in found if item), None)


def set_aside_killers(plan: StagePlan, earlier_tries: Sequence[Path]) -> tuple[StagePlan, dict[str, StageItem]]:
    """Keep an item that kills the process from taking the shard with it.

    An item that was under way when an earlier try's process died (a crash in a decoder, out of
    memory) goes last; one that was twice is given up. A process that was stopped on purpose is no
    death. `earlier_tries` are the folders of this go's tries: clearing the task begins a new go.

    Returns:
        The plan without the items given up, and those items, failed.
    """
    deaths = Counter(_killer(folder) for folder in earlier_tries)
    given_up = {
        item.asset_id: StageItem(
            fingerprint=item.fingerprint,
            outcome=ItemOutcome.FAILED,
            message=f"{item.source!r} was being processed when the stage died, {deaths[item.asset_id]} times; given up",
        )
        for item in plan.waiting
        if deaths[item.asset_id] >= DEATHS_BEFORE_GIVING_UP
    }
    waiting = [item for item in plan.waiting if item.asset_id not in given_up]
    waiting.sort(key=lambda item: deaths[item.asset_id])
    return StagePlan(plan.complete, tuple(waiting)), given_up


def _killer(folder: Path) -> str | None:
    """The asset that was under way when this try's process died; none when it ended in order or was stopped."""
    current = folder / CURRENT_ITEM_FILE
    is_death = current.exists() and not (folder / OUTCOME_FILE).exists() and not (folder / STOPPED_FILE).exists()
    return current.read_text() if is_death else None


def find_complete(results: Path, asset_id: str, stage: Stage, name: str) -> StageItem | None:
    """The complete result with this fingerprint, if there is one, as an entry of the index."""
    result = read_result(result_dir(results, asset_id, stage, name))
    if result is None:
        return None
    if result.rejection:
        reason, message = result.rejection.reason, result.rejection.message
        return StageItem(fingerprint=name, outcome=ItemOutcome.REJECTED, reason=reason, message=message)
    return StageItem(fingerprint=name, outcome=ItemOutcome.REUSED)


def after_container(
    results: Path, stage: Stage, requested: Sequence[RequestItem], outcome: StageOutcome | None, verdict_text: str
) -> dict[str, StageItem]:
    """What became of each requested item. The results on disk decide; the container's word explains.

    An item without a complete result has failed when the container said so, else it is left.
    """
    told = {report.asset_id: report for report in outcome.items} if outcome else {}
    items: dict[str, StageItem] = {}
    for item in requested:
        report = told.get(item.asset_id)
        names = [item.fingerprint, *filter(None, [item.smaller_fingerprint])]
        found = _first_complete(results, item.asset_id, stage, names)
        if found and found.outcome is ItemOutcome.REUSED:
            fresh = report is None or report.outcome is not ItemOutcome.REUSED
            found = found.model_copy(update={"outcome": ItemOutcome.DONE}) if fresh else found
        if found is None and report and report.outcome in (ItemOutcome.FAILED, ItemOutcome.REJECTED):
            # A rejection for a passing reason leaves no result: the next run looks again.
            found = StageItem(
                fingerprint=item.fingerprint, outcome=report.outcome, reason=report.reason, message=report.message
            )
        items[item.asset_id] = found or StageItem(
            fingerprint=item.fingerprint, outcome=ItemOutcome.LEFT, message=verdict_text
        )
    return items


def judge(exit_code: int, outcome: StageOutcome | None, out_of_memory: bool, items: Mapping[str, StageItem]) -> Verdict:
    """What a container's exit code means for the task. `items` is what became of what it was asked to do."""
    told = outcome.message if outcome else f"the container left no outcome.json (exit {exit_code})"
    if out_of_memory:
        remedy = "the container ran out of memory; raise NIGHTREEL_STAGE_MEMORY_MIB in .env, or use smaller shards"
        return Verdict(Action.RETRY, AttemptOutcome.TRANSIENT, remedy)
    if exit_code >= FIRST_DOCKER_CODE:
        return Verdict(Action.RETRY, AttemptOutcome.TRANSIENT, f"the container was killed (exit {exit_code}): {told}")
    without_result = [asset for asset, item in items.items() if item.outcome in (ItemOutcome.LEFT, ItemOutcome.FAILED)]
    match exit_code:
        case ExitCode.DONE | ExitCode.ALL_REJECTED if without_result:
            message = f"exit {exit_code} promises a result for every item; {len(without_result)} have none: {told}"
            return Verdict(Action.FAIL, AttemptOutcome.FAILED, message)
        case ExitCode.DONE:
            return Verdict(Action.SUCCEED, AttemptOutcome.DONE, told)
        case ExitCode.ALL_REJECTED:
            return Verdict(Action.SKIP, AttemptOutcome.REJECTED, told)
        case ExitCode.STEPPED_ASIDE:
            return Verdict(Action.STEP_ASIDE, AttemptOutcome.STEPPED_ASIDE, told)
        case ExitCode.TRANSIENT:
            return Verdict(Action.RETRY, AttemptOutcome.TRANSIENT, told)
        case ExitCode.DEVICE_FAILED:
            return Verdict(Action.FAIL, AttemptOutcome.DEVICE_FAILED, told)
        case _:
            return Verdict(Action.FAIL, AttemptOutcome.FAILED, told)


def over_all(verdict: Verdict, items: Mapping[str, StageItem]) -> Verdict:
    """The verdict on the task: a container speaks only of what it was asked, `items` are all of the stage's.

    A success with an item that failed is a failure, one with an item left asks for another try, and a
    shard is not rejected when some of it can be used.
    """
    if verdict.action not in (Action.SUCCEED, Action.SKIP):
        return verdict
    outcomes = {item.outcome for item in items.values()}
    if ItemOutcome.FAILED in outcomes:
        return Verdict(Action.FAIL, AttemptOutcome.FAILED, tally(items))
    if ItemOutcome.LEFT in outcomes:
        return Verdict(Action.RETRY, AttemptOutcome.TRANSIENT, tally(items))
    if verdict.action is Action.SKIP and outcomes & USABLE:
        return Verdict(Action.SUCCEED, AttemptOutcome.DONE, tally(items))
    return verdict


def without_container(stage: Stage, items: Mapping[str, StageItem]) -> Verdict:
    """The verdict when nothing is left to do."""
    if not items:
        message = f"no asset of this run has what {stage} reads; earlier stages say why"
        return Verdict(Action.SKIP, AttemptOutcome.REJECTED, message)
    if all(item.outcome is ItemOutcome.REJECTED for item in items.values()):
        return Verdict(Action.SKIP, AttemptOutcome.REJECTED, f"{tally(items)}; results were there already")
    return Verdict(Action.SUCCEED, AttemptOutcome.REUSED, f"{tally(items)}; no container was needed")


def tally(items: Mapping[str, StageItem]) -> str:
    """How many items ended how: `3 done, 1 rejected`."""
    outcomes = [item.outcome for item in items.values()]
    return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in ItemOutcome if outcome in outcomes)


def usable_inputs(asset_id: str, stage: Stage, indexes: Mapping[Stage, StageIndex | None]) -> dict[Stage, str] | None:
    """Fingerprints of the results that `stage` reads of an asset; none when one of them is not to be had."""
    inputs: dict[Stage, str] = {}
    for needed in INPUTS[stage]:
        index = indexes.get(needed)
        item = index.items.get(asset_id) if index else None
        if item is None or item.outcome not in USABLE:
            return None
        inputs[needed] = item.fingerprint
    return inputs
