"""Assets whose sound stands ready, as media.extract would have left it, and the transcripts made of them."""

import hashlib
from pathlib import Path

from pydantic import JsonValue

from operators.routing import image_for
from stage_contract.outputs import AUDIO_FILE, TRANSCRIPT_FILE, Transcript
from stage_contract.request import StageRequest
from stage_contract.vocabulary import Stage, Variant
from tests.images.audio.agreement import PlainTranscript
from tests.stage_container import Finished, Source, StageBench, read_only, run_program, writable

IMAGE = image_for(Stage.TRANSCRIBE, Variant.CPU)
TESTS = Path(__file__).parent


class Sounds:
    """Sounds by asset id, and containers that transcribe them."""

    def __init__(self, bench: StageBench, speech: Path) -> None:
        self.bench = bench
        self.speech = speech
        self._inputs: dict[str, str] = {}

    def add(self, name: str, *parts: str) -> str:
        """Make an asset of these parts, see make_sound.py; the speech is at /speech. Returns the asset's id."""
        asset_id = hashlib.sha256(name.encode()).hexdigest()
        self._inputs[asset_id], file = self.bench.place(asset_id, Stage.EXTRACT, AUDIO_FILE)
        volumes = writable(file.parent, "/made"), read_only(TESTS, "/tests"), read_only(self.speech, "/speech")
        made = run_program(IMAGE, ["python", "/tests/make_sound.py", f"/made/{AUDIO_FILE}", *parts], *volumes)
        assert made.exit_code == 0, made.stderr
        return asset_id

    def plainly(self, asset_id: str) -> PlainTranscript:
        """What faster-whisper makes of an asset as its README shows it, in float32."""
        _, file = self.bench.place(asset_id, Stage.EXTRACT, AUDIO_FILE)
        volumes = read_only(file.parent, "/made"), read_only(TESTS, "/tests")
        heard = run_program(IMAGE, ["python", "/tests/plain_whisper.py", f"/made/{AUDIO_FILE}"], *volumes)
        assert heard.exit_code == 0, heard.stderr
        return PlainTranscript.model_validate_json(heard.stdout)

    def request(
        self, *asset_ids: str, variant: Variant = Variant.CPU, compute_type: str = "int8", **parameters: JsonValue
    ) -> StageRequest:
        sources = [Source(id_, f"{id_[:8]}.mp4", {Stage.EXTRACT: self._inputs[id_]}) for id_ in asset_ids]
        return self.bench.request(Stage.TRANSCRIBE, sources, parameters, variant, compute_type)


def transcript(done: Finished, asset_id: str) -> Transcript:
    """What was said in this asset."""
    return done.output(asset_id, TRANSCRIPT_FILE, Transcript)
