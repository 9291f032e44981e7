"""A small real stage: what each item's content says decides what happens to it. Run as a program by the tests."""

import errno
import gc
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from stage_contract.errors import DeviceFailure, ItemRejected, TransientFailure
from stage_contract.models import ModelRef
from stage_contract.phases import PhaseRecorder
from stage_contract.request import StageRequest
from stage_contract.runner import STEP_ASIDE_FILE, main
from stage_contract.vocabulary import DeviceFault, Phase, Reason, Stage
from stage_contract.workspace import ItemWorkspace

DIARY = "diary"
"""Parameter: the file that the worker notes in what it did, line by line."""

SHORT_SETUPS = "short_setups"
"""Parameter: how many times setting up runs out of memory. An item that says `memory 2` does so itself, twice."""


class ToyWorker:
    """Keeps the item's text as `out.txt`, unless the text asks for something else."""

    stage = Stage.PROBE
    version = "7"
    model_roles: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._setups = 0
        self._shortages: dict[str, int] = {}

    def setup(self, request: StageRequest, models: Mapping[str, ModelRef], phases: PhaseRecorder) -> None:
        """Note that it was called, and in what to compute."""
        self._diary = Path(str(request.parameters[DIARY]))
        self._note(f"setup {request.compute_type} {request.batch_size}")
        self._setups += 1
        with phases.measure(Phase.IMPORT):
            if self._setups <= int(str(request.parameters.get(SHORT_SETUPS, 0))):
                raise DeviceFailure(DeviceFault.OUT_OF_MEMORY, "the model must fit the device: it does not")

    def release(self) -> None:
        """Note that it was called."""
        self._note("release")

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        """Do what the text says."""
        with phases.measure(Phase.PROBE, workspace.item.asset_id) as counters:
            text = workspace.source().read_text()
            counters["characters"] = len(text)
            workspace.write_text("out.txt", text)
            self._note(text)
            if text.startswith("rewritten"):
                workspace.source().write_text("another film altogether")
            self._obey(text)

    def _obey(self, text: str) -> None:
        match text.split()[0]:
            case "reject":
                raise ItemRejected(Reason.CORRUPT, "items must not say reject: this one does; change it")
            case "crash":
                raise ValueError("a bug of ours")
            case "device":
                raise DeviceFailure(DeviceFault.BROKEN, "the device must work: it does not")
            case "unsuitable":
                raise DeviceFailure(DeviceFault.UNSUITABLE, "the build must serve the device: it does not")
            case "memory":
                self._run_short(text)
            case "transient":
                raise TransientFailure("the storage must answer: it does not")
            case "full":
                raise OSError(errno.ENOSPC, "No space left on device")
            case "denied":
                raise OSError(errno.EACCES, "Permission denied")
            case "aside":
                (self._diary.parent / STEP_ASIDE_FILE).touch()
            case "garbage":
                self._note(f"collects every {gc.get_threshold()[0]}")
            case "hang":
                time.sleep(60)

    def _run_short(self, text: str) -> None:
        self._shortages[text] = self._shortages.get(text, 0) + 1
        if self._shortages[text] <= int(text.split()[1]):
            raise DeviceFailure(DeviceFault.OUT_OF_MEMORY, "the batch must fit the device: it does not")

    def _note(self, line: str) -> None:
        with self._diary.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main({Stage.PROBE: ToyWorker}))
