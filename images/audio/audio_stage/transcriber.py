"""From a sound file to a transcript, one phase after another."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audio_stage.decoding import AudioReader
from audio_stage.speech import SpeechBlock, SpeechFinder
from audio_stage.timeline import SAMPLE_RATE_HZ, even_batches
from audio_stage.whisper import DETECTION_MAX_S, DETECTION_WINDOWS, HeardSpeech, SpokenLanguage, Whisper
from stage_contract.errors import ItemRejected
from stage_contract.outputs import Segment, Transcript
from stage_contract.parameters import TranscribeParameters
from stage_contract.phases import PhaseRecorder
from stage_contract.vocabulary import Phase, Reason

ENGLISH = "en"

log = logging.getLogger("stage")


class Transcriber:
    """Transcribes files with one model and one set of parameters."""

    def __init__(self, whisper: Whisper, parameters: TranscribeParameters) -> None:
        self._whisper = whisper
        self._parameters = parameters

    def transcribe(self, audio: Path, asset_id: str, phases: PhaseRecorder) -> Transcript:
        """Decode `audio` (FLAC), find the speech, tell its language, transcribe it.

        Decoding, voice detection and transcription take turns, window by window; each gives one line
        in the end. There is a language phase only where there is speech and a language to detect.

        Raises:
            ItemRejected: the model does not know the language asked for.
            DeviceFailure: the device failed on the way.
        """
        self._check_language()
        segments: list[Segment] = []
        language: SpokenLanguage | None = None
        with (
            AudioReader(audio) as reader,
            phases.accumulate(Phase.TRANSCRIPTION, asset_id) as transcription,
            phases.accumulate(Phase.VAD, asset_id) as vad,
            phases.accumulate(Phase.DECODE, asset_id) as decode,
        ):
            finder = SpeechFinder(reader, decode, vad)
            for blocks in finder.stretches():
                language = language or self._language_of(blocks[:DETECTION_WINDOWS], asset_id, phases)
                for batch in even_batches(blocks, self._whisper.batch_size):
                    with transcription.turn() as counters:
                        heard = self._whisper.transcribe(batch, language.code, self._parameters.beam_size)
                        segments += heard.segments
                        counters["speech_s"] = finder.speech_s
                        _count(counters, heard, len(batch))
                    log.info("transcribed %.0f s of speech, %d segments so far", finder.speech_s, len(segments))
        told = language if segments else None
        return Transcript(
            language=told.code if told else None,
            language_probability=told.probability if told else None,
            duration_s=round(finder.duration_s, 3),
            speech_duration_s=round(finder.speech_s, 3),
            segments=tuple(segment.model_copy(update={"index": i}) for i, segment in enumerate(segments)),
        )

    def _check_language(self) -> None:
        # Known for all items at once, yet told item by item: the run goes on, the catalog says what
        # happened, and with another model or language the fingerprint differs and the item is done.
        asked, known = self._parameters.language, self._whisper.languages
        if asked is not None and asked not in known:
            raise ItemRejected(
                Reason.UNSUPPORTED,
                f"the model must know the language asked for: {self._whisper.name} knows "
                f"{'English only' if known == {ENGLISH} else f'{len(known)} languages'}, asked {asked!r}; "
                "build the image with a model that knows it, or ask for another language",
            )

    def _language_of(self, blocks: Sequence[SpeechBlock], asset_id: str, phases: PhaseRecorder) -> SpokenLanguage:
        if self._parameters.language is not None:
            return SpokenLanguage(self._parameters.language, None)
        if not self._whisper.is_multilingual:
            return SpokenLanguage(ENGLISH, None)
        samples = np.concatenate([block.samples for block in blocks])
        with phases.measure(Phase.LANGUAGE_DETECTION, asset_id) as counters:
            counters["audio_s"] = min(len(samples) / SAMPLE_RATE_HZ, DETECTION_MAX_S)
            return self._whisper.detect_language(samples)


def _count(counters: dict[str, float], heard: HeardSpeech, windows: int) -> None:
    found = {
        "segments": len(heard.segments),
        "words": sum(len(segment.words) for segment in heard.segments),
        "tokens": heard.tokens,
        "windows": windows,
        "windows_again": heard.again,
    }
    for name, count in found.items():
        counters[name] = counters.get(name, 0.0) + count
