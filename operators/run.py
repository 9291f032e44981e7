"""The ends of a run: which assets it is about, and what became of them."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from operators.catalog import Location, Registered, RejectedLocation, find_media, register, resolve
from operators.database import Database
from operators.errors import ChoiceInvalid, NightreelError, ShardMissing
from operators.gpu.configuration import GpuConfiguration
from operators.publish import publish_asset
from operators.routing import DevicePolicy, has_gpu_build, with_prerequisites
from operators.settings import Folders
from operators.shard import USABLE, RunFolder, Shard, ShardItem, ShardLocation, StageIndex, StageItem
from operators.stage_plan import usable_inputs
from operators.timings import (
    RunItem,
    RunItemOutcome,
    RunOutcome,
    RunStart,
    begin_run,
    finish_run,
    run_outcome,
    set_item_outcomes,
)
from stage_contract.vocabulary import PASSING_REASONS, ItemOutcome, Reason, Stage

# Each asset is a mount of the stage container; the kernel takes thousands, but not gladly.
MAX_SHARD_ASSETS = 500
HASH_REPORT_BYTES = 1 << 30

log = logging.getLogger(__name__)

Indexes = Mapping[Stage, StageIndex | None]


@dataclass(frozen=True)
class RunRequest:
    """What a person or a DAG asks of a run, as in the trigger form."""

    files: tuple[str, ...]
    asset_ids: tuple[str, ...]
    stages: tuple[Stage, ...]
    device: DevicePolicy = DevicePolicy.AUTO


@dataclass(frozen=True)
class Fate:
    """What a run has made of one asset."""

    outcome: RunItemOutcome
    reason: Reason | None = None
    message: str = ""


def refuse_impossible(request: RunRequest, gpus: GpuConfiguration) -> None:
    """Refuse a run that insists on a GPU which can never be had.

    Raises:
        ChoiceInvalid: no GPU is configured, or a stage asked for fits none.
    """
    if request.device is not DevicePolicy.GPU:
        return
    stages = [stage for stage in with_prerequisites(request.stages) if has_gpu_build(stage)]
    if stages and not gpus.devices:
        raise ChoiceInvalid(
            f"device 'gpu' needs a GPU for {', '.join(stages)}: none is configured; set NIGHTREEL_GPU_DEVICES in .env "
            "and run `make up`, or choose 'auto' or 'cpu'"
        )
    for stage in stages:
        gpus.require_fit(stage, gpus.needs.get(stage, gpus.smallest_mib))


def begin_shard(database: Database, places: Folders, folder: RunFolder, run: RunStart, request: RunRequest) -> Shard:
    """Find, hash and register the files asked for, and write the run's shard.

    Raises:
        ChoiceInvalid: nothing was asked for, nothing was found, or more than a run can take; or it insists on a
            GPU that can never be had.
    """
    begin_run(database, run)
    folder.forget_shard()
    refuse_impossible(request, GpuConfiguration.from_environment())
    locations = _locations(database, places.media_roots, request)
    if not locations:
        raise ChoiceInvalid(
            f"a run needs at least one media file: none below {', '.join(request.files) or 'what was named'}; "
            "name files or folders below archive/ or inbox/, or asset ids"
        )
    if len(locations) > MAX_SHARD_ASSETS:
        raise ChoiceInvalid(
            f"a run takes at most {MAX_SHARD_ASSETS} files: {len(locations)} were named; trigger one run per subfolder"
        )
    registered = register(database, places.media_roots, locations, _report_hashing)
    shard = _shard(registered, with_prerequisites(request.stages))
    folder.write_shard(shard)
    set_item_outcomes(database, run.dag_id, run.run_id, _run_items(shard, {}))
    return shard


def publish_run(database: Database, places: Folders, folder: RunFolder, dag_id: str, run_id: str) -> list[RunItem]:
    """Load every result of the run into the database and record what became of each file.

    What cannot be loaded is recorded as failed; the others are loaded all the same. A database that is away
    is no asset's fault: that error passes, and the task is tried again.

    Raises:
        ShardMissing: the run never found its assets.
    """
    shard = folder.read_shard()
    if shard is None:
        finish_run(database, dag_id, run_id, datetime.now(UTC), RunOutcome.FAILED)
        raise ShardMissing("there is nothing to publish: find_assets did not end; see its log")
    indexes = {stage: folder.read_index(stage) for stage in shard.stages}
    fates: dict[str, Fate] = {}
    for number, item in enumerate(shard.items, start=1):
        fate = decide_fate(item.asset_id, shard.stages, indexes)
        try:
            published = publish_asset(database, places.results, item.asset_id, _complete(item.asset_id, indexes))
            changes = ", ".join(f"{stage} {what}" for stage, what in published.stages.items())
            log.info("[%d/%d] %s %s: %s", number, len(shard.items), item.source, fate.outcome, changes or "nothing")
        except NightreelError as error:
            log.exception("[%d/%d] %s could not be published", number, len(shard.items), item.source)
            fate = Fate(RunItemOutcome.FAILED, message=f"publish: {error}")
        fates[item.asset_id] = fate
    run_items = _run_items(shard, fates)
    set_item_outcomes(database, dag_id, run_id, run_items)
    finish_run(database, dag_id, run_id, datetime.now(UTC), run_outcome(run_items))
    return run_items


def decide_fate(asset_id: str, stages: Sequence[Stage], indexes: Indexes) -> Fate:
    """What the stages' indexes say of one asset.

    Failed when a stage failed; left when none did, but one did not come to it; rejected when no stage after the
    probe found anything it could use; otherwise done, with a word on what was missing.
    """
    left: Fate | None = None
    rejections = []
    is_used = False
    for stage in stages:
        if usable_inputs(asset_id, stage, indexes) is None:
            continue
        index = indexes[stage]
        item = index.items.get(asset_id) if index else None
        if item is None:
            left = left or Fate(RunItemOutcome.LEFT, message=f"{stage} did not come to it; its task's log says why")
        elif item.outcome is ItemOutcome.FAILED:
            return Fate(RunItemOutcome.FAILED, message=f"{stage}: {item.message}")
        elif item.outcome is ItemOutcome.LEFT:
            left = left or Fate(RunItemOutcome.LEFT, message=f"{stage}: {item.message}")
        elif item.outcome is ItemOutcome.REJECTED:
            rejections.append((stage, item))
        elif stage is not Stage.PROBE or tuple(stages) == (Stage.PROBE,):
            is_used = True
    if left:
        return left
    if rejections and not is_used:
        stage, item = rejections[0]
        return Fate(RunItemOutcome.REJECTED, item.reason, item.message)
    return Fate(RunItemOutcome.DONE, message="; ".join(f"{stage}: {item.message}" for stage, item in rejections))


def summary(items: Sequence[RunItem]) -> str:
    """How many files ended how: `3 done, 1 rejected`."""
    outcomes = Counter(item.outcome for item in items)
    return ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in RunItemOutcome if outcomes[outcome])


def run_parameters(params: Mapping[str, JsonValue]) -> RunRequest:
    """The trigger form's values, as a request."""
    return RunRequest(
        files=tuple(str(file) for file in _list(params, "files")),
        asset_ids=tuple(str(asset_id) for asset_id in _list(params, "asset_ids")),
        stages=tuple(Stage(str(stage)) for stage in _list(params, "stages")),
        device=DevicePolicy(str(params.get("device") or DevicePolicy.AUTO)),
    )


def _list(params: Mapping[str, JsonValue], name: str) -> list[JsonValue]:
    value = params.get(name) or []
    if not isinstance(value, list):
        raise ChoiceInvalid(f"{name} must be a list: it is {value!r}")
    return value


def _locations(database: Database, roots: Mapping[str, Path], request: RunRequest) -> list[Location]:
    found: dict[Location, None] = {}
    for file in request.files:
        root, _, path = file.partition("/")
        if root not in roots:
            raise ChoiceInvalid(f"a file must lie below {' or '.join(f'{r}/' for r in roots)}: {file!r} does not")
        start = roots[root] / path
        # A file that is not there is no mistake of the form: it gets its row and its reason.
        is_folder = start.is_dir() and not start.is_symlink()
        found |= dict.fromkeys(find_media(roots, root, path) if is_folder else [Location(root, path)])
    known = resolve(database, request.asset_ids)
    unknown = [asset_id for asset_id in request.asset_ids if asset_id not in known]
    if unknown:
        raise ChoiceInvalid(f"asset ids must be known: {', '.join(unknown)} are not; name the files instead")
    return list(found | dict.fromkeys(known.values()))


def _report_hashing(location: Location, done_bytes: int, size_bytes: int) -> None:
    if done_bytes == size_bytes or done_bytes % HASH_REPORT_BYTES == 0:
        log.info("hashed %s: %d of %d MiB", location.shown, done_bytes >> 20, size_bytes >> 20)


def _shard(registered: Sequence[Registered], stages: tuple[Stage, ...]) -> Shard:
    items: dict[str, ShardItem] = {}
    locations = []
    for found in registered:
        root, shown = found.location.root, found.location.shown
        if isinstance(found, RejectedLocation):
            log.warning("%s/%s rejected (%s): %s", root, shown, found.rejection.reason, found.rejection.message)
            locations.append(ShardLocation(root=root, path=shown, rejection=found.rejection))
            continue
        locations.append(ShardLocation(root=root, path=shown, asset_id=found.asset_id))
        item = ShardItem(
            asset_id=found.asset_id,
            root=root,
            path=found.real_path,
            size_bytes=found.size_bytes,
            mtime_ns=found.mtime_ns,
        )
        items.setdefault(found.asset_id, item)
    return Shard(items=tuple(items.values()), locations=tuple(locations), stages=stages)


def _run_items(shard: Shard, fates: Mapping[str, Fate]) -> list[RunItem]:
    run_items = []
    for location in shard.locations:
        if location.rejection:
            fate = Fate(RunItemOutcome.REJECTED, location.rejection.reason, location.rejection.message)
        else:
            fate = fates.get(str(location.asset_id), Fate(RunItemOutcome.PENDING))
        run_items.append(
            RunItem(location.root, location.path, location.asset_id, fate.outcome, fate.reason, fate.message)
        )
    return run_items


def _complete(asset_id: str, indexes: Indexes) -> dict[Stage, str]:
    found = {stage: index.items[asset_id] for stage, index in indexes.items() if index and asset_id in index.items}
    return {stage: item.fingerprint for stage, item in found.items() if _has_result(item)}


def _has_result(item: StageItem) -> bool:
    is_kept = item.outcome is ItemOutcome.REJECTED and item.reason not in PASSING_REASONS
    return item.outcome in USABLE or is_kept
