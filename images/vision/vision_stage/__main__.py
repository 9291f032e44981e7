"""Entry point of the image."""

import sys

from stage_contract.runner import main
from stage_contract.vocabulary import Stage
from vision_stage.worker import AnalyzeWorker

sys.exit(main({Stage.ANALYZE: AnalyzeWorker}))
