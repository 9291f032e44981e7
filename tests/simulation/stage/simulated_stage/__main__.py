"""`python -m simulated_stage`: the entry point of the image."""

import sys

from simulated_stage.workers import WORKERS
from stage_contract.runner import main

sys.exit(main(WORKERS))
