"""Runs inside the audio image: faster-whisper in float32 as its README shows it, with word times; writes JSON."""

import json
import sys

from faster_whisper import WhisperModel


def main() -> None:
    model = WhisperModel("/opt/models/whisper", device="cpu", compute_type="float32", cpu_threads=2)
    segments = list(model.transcribe(sys.argv[1], beam_size=5, word_timestamps=True)[0])
    words = [
        {"text": word.word, "start_s": word.start, "end_s": word.end}
        for segment in segments
        for word in segment.words or ()
    ]
    print(json.dumps({"text": " ".join(segment.text for segment in segments), "words": words}))


if __name__ == "__main__":
    main()
