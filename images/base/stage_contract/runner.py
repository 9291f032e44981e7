"""The main function of every stage: read the request, process item by item, leave files and an exit code."""

import argparse
import contextlib
import errno
import gc
import logging
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Protocol

from pydantic import ValidationError

from stage_contract.errors import DeviceFailure, ItemRejected, Terminated, TransientFailure
from stage_contract.models import ModelRef, read_models
from stage_contract.phases import PHASES_FILE, PhaseRecord, PhaseRecorder
from stage_contract.request import RequestItem, StageRequest
from stage_contract.result import OUTCOME_FILE, ItemReport, ItemResult, Rejection, StageOutcome, read_result, result_dir
from stage_contract.retreat import describe_end, describe_retreat, footings, on_footing
from stage_contract.vocabulary import (
    PASSING_REASONS,
    DeviceFault,
    ExitCode,
    ItemOutcome,
    Phase,
    PhaseOutcome,
    Reason,
    Stage,
)
from stage_contract.workspace import ItemWorkspace, write_durably

STEP_ASIDE_FILE = "step_aside"
CURRENT_ITEM_FILE = "current_item"
MEDIA_MOUNT = Path("/media")
RESULTS_MOUNT = Path("/results")
SETUP_COLLECTION_THRESHOLD = 100_000

TRANSIENT_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOMEM}

log = logging.getLogger("stage")


class Worker(Protocol):
    """What a stage implements."""

    stage: Stage
    version: str
    """Changes whenever the same input would give another output."""

    model_roles: tuple[str, ...]
    """The models that decide this stage's output."""

    def setup(self, request: StageRequest, models: Mapping[str, ModelRef], phases: PhaseRecorder) -> None:
        """Import libraries (phase `import`) and load models (phase `model_load`), once per container.

        Where the device is out of memory, it comes again after `release`.

        Raises:
            DeviceFailure: the device does not work or does not suffice.
        """

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        """Process one item and write its files through the workspace.

        Raises:
            ItemRejected: the media cannot be processed.
            DeviceFailure: the device failed, or is out of memory.
        """

    def release(self) -> None:
        """Give back what `setup` loaded, VRAM above all. After it comes `setup` again, with a smaller request."""


def main(workers: Mapping[Stage, type[Worker]], argv: list[str] | None = None) -> int:
    """Run the worker that the request asks for. Returns the exit code, see `ExitCode`."""
    parser = argparse.ArgumentParser(description="Process one request: " + ", ".join(workers))
    parser.add_argument("--request", type=Path, required=True, help="request.json; results are told beside it")
    parser.add_argument("--media", type=Path, default=MEDIA_MOUNT, help="folder that item sources are relative to")
    parser.add_argument("--results", type=Path, default=RESULTS_MOUNT, help="folder that holds assets/")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
    try:
        request = StageRequest.model_validate_json(arguments.request.read_bytes())
        worker = workers[request.stage]()
    except (OSError, ValidationError, KeyError) as error:
        log.error("the request must be a valid request.json for %s: %s", ", ".join(workers), error)
        return ExitCode.BUG
    signal.signal(signal.SIGTERM, _terminate)
    return StageRun(worker, request, arguments.request.parent, arguments.media, arguments.results).execute()


@contextlib.contextmanager
def _rarely_collecting() -> Iterator[None]:
    # What is imported and loaded stays: looking for garbage in it as often as usual takes a tenth of the time.
    before = gc.get_threshold()
    gc.set_threshold(SETUP_COLLECTION_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


class StageRun:
    """One request on its way through one worker."""

    def __init__(self, worker: Worker, request: StageRequest, work: Path, media: Path, results: Path) -> None:
        self._worker = worker
        self._request = request
        self._work = work
        self._media = media
        self._results = results
        self._all_models = read_models()
        self._models = tuple(self._all_models[role] for role in worker.model_roles if role in self._all_models)
        self._phases = PhaseRecorder(work / PHASES_FILE)
        self._reports: dict[str, ItemReport] = {}
        self._retreats: list[str] = []
        self._fault: DeviceFault | None = None

    def execute(self) -> int:
        """Process what is not complete yet; never raises, returns the exit code."""
        try:
            self._record_container_start()
            code, message = self._process_items()
        except Terminated:
            code, message = 128 + signal.SIGTERM, "stopped on request; finished items are kept"
        except DeviceFailure as error:
            code, message, self._fault = ExitCode.DEVICE_FAILED, str(error), error.fault
        except TransientFailure as error:
            code, message = ExitCode.TRANSIENT, str(error)
        except OSError as error:
            log.exception("the system refused")
            code = ExitCode.TRANSIENT if error.errno in TRANSIENT_ERRNOS else ExitCode.BUG
            message = str(error)
        except Exception as error:
            log.exception("the stage broke")
            code, message = ExitCode.BUG, f"{type(error).__name__}: {error}"
        message = "; ".join([message, *self._retreats])
        log.info("%s (exit %d)", message, code)
        try:
            self._tell(code, message)
        except OSError as error:
            log.exception("the outcome could not be written")
            return ExitCode.TRANSIENT if error.errno in TRANSIENT_ERRNOS else ExitCode.BUG
        return code

    def _tell(self, code: int, message: str) -> None:
        # The process ends in order: no item killed it.
        self._name_no_item()
        reports = tuple(
            self._reports.get(item.asset_id)
            or ItemReport(asset_id=item.asset_id, fingerprint=item.fingerprint, outcome=ItemOutcome.LEFT)
            for item in self._request.items
        )
        outcome = StageOutcome(exit_code=code, message=message, device_fault=self._fault, items=reports)
        write_durably(self._work / OUTCOME_FILE, outcome.model_dump_json(indent=1))

    def _name_no_item(self) -> None:
        (self._work / CURRENT_ITEM_FILE).unlink(missing_ok=True)

    def _record_container_start(self) -> None:
        # Wall clock, not monotonic: the start was taken by another process, on the same machine.
        started_at = self._request.submitted_at
        duration_s = max(0.0, (datetime.now(UTC) - started_at).total_seconds())
        self._phases.append(
            PhaseRecord(
                phase=Phase.CONTAINER_START,
                started_at=started_at,
                duration_s=duration_s,
                span_s=duration_s,
                outcome=PhaseOutcome.DONE,
            )
        )

    def _process_items(self) -> tuple[int, str]:
        choices = footings(self._request)
        for item in self._request.items:
            self._reuse(item)
        short = self._process_waiting(on_footing(self._request, choices[0]))
        for before, after in pairwise(choices):
            if short is None:
                break
            self._retreat(describe_retreat(before, after))
            short = self._process_waiting(on_footing(self._request, after))
        if short is None:
            return self._conclusion()
        self._retreats.append(describe_end(choices))
        raise DeviceFailure(DeviceFault.OUT_OF_MEMORY, short)

    def _retreat(self, what: str) -> None:
        # Loading again is no item's work: what kills the process now is not to be laid at an item's door.
        self._name_no_item()
        log.warning("%s", what)
        self._retreats.append(what)
        self._worker.release()

    def _process_waiting(self, request: StageRequest) -> str | None:
        """Process what has no report yet. Returns why the memory did not suffice, none when it did.

        The error itself is let go: its traceback holds on to what was loaded.
        """
        waiting = [item for item in request.items if item.asset_id not in self._reports]
        try:
            if waiting:
                with _rarely_collecting():
                    self._worker.setup(request, self._all_models, self._phases)
            for number, item in enumerate(waiting, start=1):
                if (self._work / STEP_ASIDE_FILE).exists():
                    break
                # Whoever finds this file without an outcome.json beside it knows which item killed the process.
                write_durably(self._work / CURRENT_ITEM_FILE, item.asset_id)
                self._process_and_tell(request, item, f"{number}/{len(waiting)}")
        except DeviceFailure as error:
            if error.fault is not DeviceFault.OUT_OF_MEMORY:
                raise
            return str(error)
        return None

    def _process_and_tell(self, request: StageRequest, item: RequestItem, number: str) -> None:
        started_s = time.monotonic()
        report = self._process(ItemWorkspace(request, item, self._media, self._results))
        self._reports[report.asset_id] = report
        duration_s = time.monotonic() - started_s
        log.info("[%s] %r %s in %.1f s %s", number, item.source, report.outcome, duration_s, report.message)

    def _reuse(self, item: RequestItem) -> None:
        result = self._earlier_result(item)
        if result is None:
            return
        rejection = result.rejection
        self._reports[item.asset_id] = ItemReport(
            asset_id=item.asset_id,
            fingerprint=result.fingerprint,
            outcome=ItemOutcome.REJECTED if rejection else ItemOutcome.REUSED,
            reason=rejection.reason if rejection else None,
            message=rejection.message if rejection else "",
        )

    def _earlier_result(self, item: RequestItem) -> ItemResult | None:
        """A complete result, that of the smaller compute type included: an attempt may have had to retreat."""
        for fingerprint in (item.fingerprint, item.smaller_fingerprint):
            result = None
            if fingerprint:
                result = read_result(result_dir(self._results, item.asset_id, self._request.stage, fingerprint))
            if result:
                return result
        return None

    def _process(self, workspace: ItemWorkspace) -> ItemReport:
        item = workspace.item
        workspace.begin()
        outcome = ItemOutcome.DONE
        reason: Reason | None = None
        message = ""
        try:
            rejected = self._rejection(workspace)
            if rejected is None:
                workspace.finish(self._worker.version, self._models)
            else:
                outcome, reason, message = ItemOutcome.REJECTED, rejected.reason, rejected.message
                self._keep_rejection(workspace, rejected)
        except DeviceFailure:
            # Whoever takes the item next may do so under another name, and would not find this to clear it.
            workspace.abandon()
            raise
        except TransientFailure:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in TRANSIENT_ERRNOS:
                raise
            # An error of ours with this item is no reason to lose the others.
            log.exception("%r failed", item.source)
            outcome, message = ItemOutcome.FAILED, f"{type(error).__name__}: {error}"
        return ItemReport(
            asset_id=item.asset_id, fingerprint=item.fingerprint, outcome=outcome, reason=reason, message=message
        )

    def _rejection(self, workspace: ItemWorkspace) -> ItemRejected | None:
        """Process the item; returns why it was rejected, none when it was not."""
        rejected = None
        try:
            self._worker.process(workspace, self._phases)
        except ItemRejected as error:
            rejected = error
        try:
            workspace.confirm_source()
        except ItemRejected as error:
            rejected = error
        return rejected

    def _keep_rejection(self, workspace: ItemWorkspace, rejected: ItemRejected) -> None:
        if rejected.reason in PASSING_REASONS:
            workspace.abandon()
            return
        rejection = Rejection(reason=rejected.reason, message=rejected.message)
        workspace.finish(self._worker.version, self._models, rejection)

    def _conclusion(self) -> tuple[int, str]:
        outcomes = [report.outcome for report in self._reports.values()]
        count = {outcome: outcomes.count(outcome) for outcome in ItemOutcome}
        told = ", ".join(f"{n} {outcome}" for outcome, n in count.items() if n)
        if len(outcomes) < len({item.asset_id for item in self._request.items}):
            return ExitCode.STEPPED_ASIDE, f"stepped aside: {told or 'nothing begun'}, the rest left"
        if count[ItemOutcome.FAILED]:
            return ExitCode.BUG, told
        if count[ItemOutcome.REJECTED] == len(outcomes):
            return ExitCode.ALL_REJECTED, told
        return ExitCode.DONE, told
