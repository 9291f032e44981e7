"""The main function of every stage: read the request, process item by item, leave files and an exit code."""

import argparse
import errno
import logging
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Protocol

from pydantic import ValidationError

from stage_contract.errors import DeviceFailure, ItemRejected, Terminated, TransientFailure
from stage_contract.models import ModelRef, read_models
from stage_contract.phases import PHASES_FILE, PhaseRecord, PhaseRecorder
from stage_contract.request import StageRequest
from stage_contract.result import OUTCOME_FILE, ItemReport, Rejection, StageOutcome
from stage_contract.vocabulary import PASSING_REASONS, ExitCode, ItemOutcome, Phase, PhaseOutcome, Reason, Stage
from stage_contract.workspace import ItemWorkspace, write_durably

STEP_ASIDE_FILE = "step_aside"
CURRENT_ITEM_FILE = "current_item"
MEDIA_MOUNT = Path("/media")
RESULTS_MOUNT = Path("/results")
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

        Raises:
            DeviceFailure: the device does not work or does not suffice.
        """

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        """Process one item and write its files through the workspace.

        Raises:
            ItemRejected: the media cannot be processed.
        """


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

    def execute(self) -> int:
        """Process what is not complete yet; never raises, returns the exit code."""
        try:
            self._record_container_start()
            code, message = self._process_items()
        except Terminated:
            code, message = 128 + signal.SIGTERM, "stopped on request; finished items are kept"
        except DeviceFailure as error:
            code, message = ExitCode.DEVICE_FAILED, str(error)
        except TransientFailure as error:
            code, message = ExitCode.TRANSIENT, str(error)
        except OSError as error:
            log.exception("the system refused")
            code = ExitCode.TRANSIENT if error.errno in TRANSIENT_ERRNOS else ExitCode.BUG
            message = str(error)
        except Exception as error:
            log.exception("the stage broke")
            code, message = ExitCode.BUG, f"{type(error).__name__}: {error}"
        log.info("%s (exit %d)", message, code)
        try:
            self._tell(code, message)
        except OSError as error:
            log.exception("the outcome could not be written")
            return ExitCode.TRANSIENT if error.errno in TRANSIENT_ERRNOS else ExitCode.BUG
        return code

    def _tell(self, code: int, message: str) -> None:
        # The process ends in order: no item killed it.
        (self._work / CURRENT_ITEM_FILE).unlink(missing_ok=True)
        reports = tuple(
            self._reports.get(item.asset_id)
            or ItemReport(asset_id=item.asset_id, fingerprint=item.fingerprint, outcome=ItemOutcome.LEFT)
            for item in self._request.items
        )
        outcome = StageOutcome(exit_code=code, message=message, items=reports)
        write_durably(self._work / OUTCOME_FILE, outcome.model_dump_json(indent=1))

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
        waiting = [w for w in self._workspaces() if not self._reuse(w)]
        stepped_aside = False
        if waiting:
            self._worker.setup(self._request, self._all_models, self._phases)
        for number, workspace in enumerate(waiting, start=1):
            if (self._work / STEP_ASIDE_FILE).exists():
                stepped_aside = True
                break
            # Whoever finds this file without an outcome.json beside it knows which item killed the process.
            write_durably(self._work / CURRENT_ITEM_FILE, workspace.item.asset_id)
            started_s = time.monotonic()
            report = self._process(workspace)
            self._reports[report.asset_id] = report
            log.info(
                "[%d/%d] %r %s in %.1f s %s",
                number,
                len(waiting),
                workspace.item.source,
                report.outcome,
                time.monotonic() - started_s,
                report.message,
            )
        return self._conclusion(stepped_aside)

    def _workspaces(self) -> list[ItemWorkspace]:
        return [ItemWorkspace(self._request, item, self._media, self._results) for item in self._request.items]

    def _reuse(self, workspace: ItemWorkspace) -> bool:
        result = workspace.complete_result()
        if result is None:
            return False
        rejection = result.rejection
        self._reports[workspace.item.asset_id] = ItemReport(
            asset_id=workspace.item.asset_id,
            fingerprint=workspace.item.fingerprint,
            outcome=ItemOutcome.REJECTED if rejection else ItemOutcome.REUSED,
            reason=rejection.reason if rejection else None,
            message=rejection.message if rejection else "",
        )
        return True

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
        except (DeviceFailure, TransientFailure):
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

    def _conclusion(self, stepped_aside: bool) -> tuple[int, str]:
        outcomes = [report.outcome for report in self._reports.values()]
        count = {outcome: outcomes.count(outcome) for outcome in ItemOutcome}
        told = ", ".join(f"{n} {outcome}" for outcome, n in count.items() if n)
        if stepped_aside:
            return ExitCode.STEPPED_ASIDE, f"stepped aside: {told or 'nothing begun'}, the rest left"
        if count[ItemOutcome.FAILED]:
            return ExitCode.BUG, told
        if count[ItemOutcome.REJECTED] == len(outcomes):
            return ExitCode.ALL_REJECTED, told
        return ExitCode.DONE, told
