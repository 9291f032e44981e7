"""The image's entry point: `python -m media_stage --request request.json`."""

import sys

from media_stage.extract import ExtractWorker
from media_stage.probe import ProbeWorker
from stage_contract.runner import main
from stage_contract.vocabulary import Stage

if __name__ == "__main__":
    sys.exit(main({Stage.PROBE: ProbeWorker, Stage.EXTRACT: ExtractWorker}))
