"""The worker of vision.analyze."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stage_contract.errors import StageError
from stage_contract.models import ModelRef
from stage_contract.outputs import PROBE_FILE, ProbeOutput
from stage_contract.parameters import AnalyzeParameters
from stage_contract.phases import PhaseRecorder
from stage_contract.request import StageRequest
from stage_contract.resources import cpu_threads
from stage_contract.vocabulary import Phase, Stage
from stage_contract.workspace import ItemWorkspace
from vision_stage.device import Runtime, import_runtime
from vision_stage.streams import main_video_stream

if TYPE_CHECKING:
    from vision_stage.models import Models


class AnalyzeWorker:
    """Looks at sampled frames of each video: quality, CLIP vector, objects, text; and finds the shots."""

    stage = Stage.ANALYZE
    version = "2"
    model_roles: tuple[str, ...] = ("clip", "detector")

    _runtime: Runtime | None = None
    _models: "Models | None" = None

    def setup(self, request: StageRequest, models: Mapping[str, ModelRef], phases: PhaseRecorder) -> None:
        """Import libraries, prove the device, load models.

        Raises:
            DeviceFailure: the device does not work or does not suffice.
            StageError: the image lacks a model.
        """
        missing = [role for role in self.model_roles if role not in models]
        if missing:
            raise StageError(f"the image must hold {' and '.join(self.model_roles)}: {', '.join(missing)} missing")
        self._parameters = AnalyzeParameters.model_validate(request.parameters)
        with phases.measure(Phase.IMPORT):
            runtime = self._runtime = import_runtime(request.variant)
            # The pipeline brings all that is left, PyAV for one.
            from vision_stage.models import load_models
            from vision_stage.pipeline import AssetAnalysis

            self._analysis = AssetAnalysis
        # The phase waits for the device when it ends: that may fail as well.
        with runtime.device_errors(), phases.measure(Phase.MODEL_LOAD) as counters:
            device = runtime.open_device(request, cpu_threads())
            if device.proof_error is not None:
                counters["proof_error"] = device.proof_error
            phases.meter = device.meter
            self._models = load_models(device, models, self._parameters.ocr, cpu_threads())

    def release(self) -> None:
        """Drop the models, and what the library keeps of the device's memory."""
        self._models = None
        if self._runtime:
            self._runtime.free_memory()

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        """Analyse one asset.

        Raises:
            ItemRejected: the media has no moving picture, or it cannot be decoded.
            DeviceFailure: the device failed or is out of memory.
            StageError: it was not set up.
        """
        if self._models is None or self._runtime is None:
            raise StageError("setup must come before process: there are no models")
        probe = ProbeOutput.model_validate_json(workspace.input_file(Stage.PROBE, PROBE_FILE).read_bytes())
        stream = main_video_stream(probe)
        source = workspace.source()
        with self._runtime.device_errors():
            self._analysis(self._models, self._parameters, probe, stream, workspace, phases).run(source)
