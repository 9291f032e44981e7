"""`python -m audio_stage --request request.json`."""

import sys

from audio_stage.worker import TranscribeWorker
from stage_contract.runner import main
from stage_contract.vocabulary import Stage

sys.exit(main({Stage.TRANSCRIBE: TranscribeWorker}))
