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
from vision_stage.streams import main_video_stream

if TYPE_CHECKING:
    from vision_stage.pipeline import Models


class AnalyzeWorker:
    """Looks at sampled frames of each video: quality, CLIP vector, objects, text; and finds the shots."""

    stage = Stage.ANALYZE
    version = "1"
    model_roles: tuple[str, ...] = ("clip", "detector")

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
            from vision_stage import device, pipeline
        # The phase waits for the device when it ends: that may fail as well.
        with device.device_errors(), phases.measure(Phase.MODEL_LOAD) as counters:
            compute_device = device.open_device(request)
            if compute_device.proof_error is not None:
                counters["proof_error"] = compute_device.proof_error
            phases.meter = compute_device.meter
            self._models = pipeline.load_models(compute_device, models, self._parameters.ocr, cpu_threads())

    def release(self) -> None:
        """Drop the models, and what torch keeps of the device's memory."""
        from vision_stage import device

        self._models = None
        device.free_memory()

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        """Analyse one asset.

        Raises:
            ItemRejected: the media has no moving picture, or it cannot be decoded.
            DeviceFailure: the device failed or is out of memory.
            StageError: it was not set up.
        """
        from vision_stage import device, pipeline

        if self._models is None:
            raise StageError("setup must come before process: there are no models")
        probe = ProbeOutput.model_validate_json(workspace.input_file(Stage.PROBE, PROBE_FILE).read_bytes())
        stream = main_video_stream(probe)
        source = workspace.source()
        with device.device_errors():
            pipeline.AssetAnalysis(self._models, self._parameters, probe, stream, workspace, phases).run(source)
