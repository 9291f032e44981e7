"""`python -m nlp_stage --request request.json`."""

import sys

from nlp_stage.worker import EnrichWorker
from stage_contract.runner import main
from stage_contract.vocabulary import Stage

if __name__ == "__main__":
    sys.exit(main({Stage.ENRICH: EnrichWorker}))
