"""Runs inside the audio image: the stage, whose device is out of memory at the end of the first item."""

import sys

from audio_stage.worker import TranscribeWorker
from stage_contract.errors import DeviceFailure
from stage_contract.phases import PhaseRecorder
from stage_contract.runner import main
from stage_contract.vocabulary import DeviceFault, Stage
from stage_contract.workspace import ItemWorkspace


class ShortWorker(TranscribeWorker):
    """The real worker, and one shortage."""

    _short = True

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        super().process(workspace, phases)
        if self._short:
            self._short = False
            raise DeviceFailure(DeviceFault.OUT_OF_MEMORY, "the work must fit the device: it does not")


if __name__ == "__main__":
    sys.exit(main({Stage.TRANSCRIBE: ShortWorker}))
