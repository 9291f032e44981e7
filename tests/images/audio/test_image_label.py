import json
import re

from audio_stage.worker import TranscribeWorker
from console.terminal import REPOSITORY


def test_the_dockerfile_tells_the_version_that_the_worker_has():
    dockerfile = (REPOSITORY / "images" / "audio" / "Dockerfile").read_text()
    match = re.search(r"nightreel\.stages='(.*)'", dockerfile)
    assert match is not None
    assert json.loads(match[1]) == {TranscribeWorker.stage: TranscribeWorker.version}
