"""What every stage image tells the engine."""

import json

import pytest

from audio_stage.worker import TranscribeWorker
from console.images import Image
from media_stage.extract import ExtractWorker
from media_stage.probe import ProbeWorker
from nlp_stage.worker import EnrichWorker
from stage_contract.models import STAGES_LABEL
from tests.stage_container import image_label, image_user
from vision_stage.worker import AnalyzeWorker

WORKERS = {
    "media": (ProbeWorker, ExtractWorker),
    "audio": (TranscribeWorker,),
    "vision": (AnalyzeWorker,),
    "nlp": (EnrichWorker,),
}


@pytest.mark.parametrize("name", WORKERS)
def test_the_label_names_the_versions_that_the_workers_have(name: str) -> None:
    told = json.loads(image_label(Image(name, "cpu").tag, STAGES_LABEL))
    assert told == {worker.stage: worker.version for worker in WORKERS[name]}


@pytest.mark.parametrize("name", WORKERS)
def test_the_image_runs_as_a_normal_user(name: str) -> None:
    assert image_user(Image(name, "cpu").tag) == "nightreel"
