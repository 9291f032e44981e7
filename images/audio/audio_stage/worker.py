"""The worker of audio.transcribe: sound in, transcript and subtitles out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from audio_stage.instructions import use_widest
from audio_stage.subtitles import format_srt, format_vtt, make_cues
from stage_contract.errors import StageError
from stage_contract.models import MODELS_DIR, ModelRef
from stage_contract.outputs import AUDIO_FILE, SRT_FILE, TRANSCRIPT_FILE, VTT_FILE
from stage_contract.parameters import TranscribeParameters
from stage_contract.phases import PhaseRecorder
from stage_contract.request import StageRequest
from stage_contract.vocabulary import Phase, Stage
from stage_contract.workspace import ItemWorkspace

if TYPE_CHECKING:
    from audio_stage.transcriber import Transcriber
    from audio_stage.whisper import Whisper

MODEL_ROLE = "whisper"


class TranscribeWorker:
    """Loads Whisper once and transcribes item by item."""

    stage = Stage.TRANSCRIBE
    version = "2"
    model_roles: tuple[str, ...] = (MODEL_ROLE,)

    _transcriber: "Transcriber"
    _whisper: "Whisper | None" = None

    def setup(self, request: StageRequest, models: Mapping[str, ModelRef], phases: PhaseRecorder) -> None:
        """Import faster-whisper, prove the device, load Whisper and the voice detector.

        Raises:
            DeviceFailure: the device is not there, does not work, lacks memory or does not have the compute type.
            StageError: the image holds no Whisper model.
        """
        if MODEL_ROLE not in models:
            raise StageError(f"the image must hold a model for {MODEL_ROLE!r}: it has none; build it again")
        parameters = TranscribeParameters.model_validate(request.parameters)
        use_widest()
        with phases.measure(Phase.IMPORT):
            from audio_stage.device import open_device
            from audio_stage.transcriber import Transcriber
            from audio_stage.whisper import Whisper
        with phases.measure(Phase.MODEL_LOAD) as counters:
            device = open_device(request)
            if device.proof_error is not None:
                counters["proof_error"] = device.proof_error
            self._whisper = Whisper(models[MODEL_ROLE].name, MODELS_DIR / MODEL_ROLE, device, request.batch_size)
            counters["model_bytes"] = self._whisper.size_bytes
        self._transcriber = Transcriber(self._whisper, parameters)

    def release(self) -> None:
        """Unload Whisper. Where loading it failed, CTranslate2 has given the memory back itself."""
        if self._whisper is not None:
            self._whisper.unload()
            self._whisper = None

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        """Transcribe one item's sound and write transcript.json, transcript.srt and transcript.vtt.

        Raises:
            ItemRejected: the model does not know the language asked for.
            DeviceFailure: the device failed on the way.
        """
        asset_id = workspace.item.asset_id
        transcript = self._transcriber.transcribe(workspace.input_file(Stage.EXTRACT, AUDIO_FILE), asset_id, phases)
        with phases.measure(Phase.WRITE, asset_id) as counters:
            cues = make_cues(transcript.segments)
            workspace.write_json(TRANSCRIPT_FILE, transcript)
            workspace.write_text(SRT_FILE, format_srt(cues))
            workspace.write_text(VTT_FILE, format_vtt(cues))
            counters["cues"] = len(cues)
