"""The baseline for sound: faster-whisper one window after another, as its README shows.

    python whisper_plain.py --compute-type float32 recording.flac

Prints JSON. With `--words` each word is timed too, which the README's example does not ask for.
"""

import argparse
import json
import os
import time

from faster_whisper import WhisperModel

parser = argparse.ArgumentParser()
parser.add_argument("--compute-type", required=True)
parser.add_argument("--words", action="store_true")
parser.add_argument("recordings", nargs="+")
arguments = parser.parse_args()

started_s = time.monotonic()
threads = int(os.environ["OMP_NUM_THREADS"])
model = WhisperModel("/opt/models/whisper", device="cpu", compute_type=arguments.compute_type, cpu_threads=threads)
load_s = time.monotonic() - started_s

transcripts = []
for recording in arguments.recordings:
    started_s = time.monotonic()
    segments, _ = model.transcribe(recording, beam_size=5, word_timestamps=arguments.words)
    spoken = [
        {
            "start_s": segment.start,
            "end_s": segment.end,
            "text": segment.text.strip(),
            "words": [{"start_s": word.start, "end_s": word.end, "text": word.word} for word in segment.words or ()],
        }
        for segment in segments
    ]
    transcripts.append({"seconds": time.monotonic() - started_s, "segments": spoken})

print(json.dumps({"load_s": load_s, "transcripts": transcripts}))
