"""The five stages. They do what the media file's text says, then write the least that the contract asks for."""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from simulated_stage.fill import FILL
from simulated_stage.gpu import SimulatedGpu, open_gpu
from simulated_stage.instructions import Action, Instruction, read_instructions
from stage_contract.errors import DeviceFailure, ItemRejected, TransientFailure
from stage_contract.models import ModelRef
from stage_contract.phases import PhaseRecorder
from stage_contract.request import StageRequest
from stage_contract.runner import Worker
from stage_contract.vocabulary import DeviceFault, Phase, Reason, Stage, Variant
from stage_contract.workspace import ItemWorkspace

DEVICE_FILE = "device.json"
ROLES: dict[Stage, tuple[str, ...]] = {Stage.TRANSCRIBE: ("whisper",), Stage.ANALYZE: ("clip", "detector")}
WORK_PHASE: dict[Stage, Phase] = {
    Stage.PROBE: Phase.PROBE,
    Stage.EXTRACT: Phase.EXTRACT,
    Stage.TRANSCRIBE: Phase.TRANSCRIPTION,
    Stage.ANALYZE: Phase.DETECTION,
    Stage.ENRICH: Phase.ENTITIES,
}
LOOK_EVERY_S = 0.1
SHARE_OF_NEED = 0.75
"""What a stage holds of the VRAM that it may hold, when the film says nothing else."""
SHARE_ON_SMALLER_FOOTING = 0.6
"""What it then holds of that, each time it goes on with a smaller batch or compute type."""


class DeviceSeen(BaseModel):
    """`device.json` beside each result: where it was made. `container_id` is its first 12 digits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: Variant
    device: str
    compute_type: str
    batch_size: int
    container_id: str


class SimulatedWorker:
    """One stage. On cuda the GPU is proven first, and looked at again while the work goes on."""

    stage: Stage
    version = "simulated-1"
    model_roles: tuple[str, ...] = ()

    _request: StageRequest
    _gpu: SimulatedGpu | None = None

    def __init__(self) -> None:
        self._times_out_of_memory: Counter[str] = Counter()
        self._wanted_mib = 0.0

    def setup(self, request: StageRequest, models: Mapping[str, ModelRef], phases: PhaseRecorder) -> None:
        """Prove the device where there is one to prove.

        Raises:
            DeviceFailure: it does not suit.
        """
        self._request = request
        # Only the first footing's need is known to who asks.
        is_first = request.need_mib > 0 or not self._wanted_mib
        self._wanted_mib = request.need_mib * SHARE_OF_NEED if is_first else self._wanted_mib * SHARE_ON_SMALLER_FOOTING
        with phases.measure(Phase.MODEL_LOAD):
            if request.variant is Variant.CUDA:
                gpu = open_gpu(request.device, request.need_mib)
                self._gpu = gpu.take(round(self._wanted_mib))

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        """Do what the file says, then write the outputs.

        Raises:
            ItemRejected, DeviceFailure, TransientFailure: the file says so, or the device does.
        """
        asset_id = workspace.item.asset_id
        with phases.measure(WORK_PHASE[self.stage], asset_id):
            for instruction in read_instructions(_film(workspace), self.stage, self._request.variant):
                self._obey(instruction, asset_id)
            self._look_at_gpu()
        with phases.measure(Phase.WRITE, asset_id):
            FILL[self.stage](workspace)
            workspace.write_json(DEVICE_FILE, self._seen())

    def release(self) -> None:
        """Give the device back."""
        if self._gpu:
            self._gpu.take(0)
        self._gpu = None

    def _obey(self, instruction: Instruction, asset_id: str) -> None:
        match instruction.action:
            case Action.SLEEP:
                self._work(float(instruction.argument))
            case Action.TAKE if self._gpu:
                self._gpu = self._gpu.take(int(instruction.argument))
            case Action.OOM:
                self._run_out_of_memory(asset_id, int(instruction.argument or 1))
            case Action.OOM_ALWAYS:
                raise DeviceFailure(DeviceFault.OUT_OF_MEMORY, "VRAM must hold the batch: the film says it never does")
            case Action.BROKEN:
                raise DeviceFailure(DeviceFault.BROKEN, "the GPU must compute right numbers: the film says it does not")
            case Action.UNSUITABLE:
                raise DeviceFailure(DeviceFault.UNSUITABLE, "the wheel must have kernels for the GPU: it has none")
            case Action.REJECT:
                raise ItemRejected(Reason(instruction.argument), "films must not ask to be rejected: this one does")
            case Action.CRASH:
                raise ValueError("a bug of ours, as the film wants")
            case Action.TRANSIENT:
                raise TransientFailure("the storage must answer: the film says it does not")
            case Action.DIE:
                os.kill(os.getpid(), signal.SIGKILL)

    def _work(self, duration_s: float) -> None:
        until_s = time.monotonic() + duration_s
        while (left_s := until_s - time.monotonic()) > 0:
            self._look_at_gpu()
            time.sleep(min(LOOK_EVERY_S, left_s))

    def _run_out_of_memory(self, asset_id: str, times: int) -> None:
        self._times_out_of_memory[asset_id] += 1
        if self._times_out_of_memory[asset_id] <= times:
            raise DeviceFailure(DeviceFault.OUT_OF_MEMORY, "VRAM must hold the batch: the film says it does not yet")

    def _look_at_gpu(self) -> None:
        if self._gpu:
            self._gpu.free_mib()

    def _seen(self) -> DeviceSeen:
        return DeviceSeen(
            variant=self._request.variant,
            device=self._gpu.uuid if self._gpu else "cpu",
            compute_type=self._request.compute_type,
            batch_size=self._request.batch_size,
            container_id=socket.gethostname(),
        )


def _film(workspace: ItemWorkspace) -> str:
    try:
        return workspace.source().read_text()
    except UnicodeDecodeError as error:
        raise ItemRejected(
            Reason.NOT_MEDIA, f"films of a simulated deployment must be texts: {workspace.item.source!r} is none"
        ) from error


def _worker(of: Stage) -> type[SimulatedWorker]:
    class StageWorker(SimulatedWorker):
        stage = of
        model_roles = ROLES.get(of, ())

    return StageWorker


WORKERS: dict[Stage, type[Worker]] = {stage: _worker(stage) for stage in Stage}
