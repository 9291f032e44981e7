"""Runs inside the audio image: loads a converted model and says what it is, as one line of JSON."""

import json
import sys

import numpy as np
from faster_whisper import WhisperModel


def main() -> None:
    model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
    tokenizer = model.hf_tokenizer
    noise = np.random.default_rng(0).normal(0.0, 0.1, 480_000).astype(np.float32)
    detected = model.detect_language(audio=noise)[2] if model.model.is_multilingual else []
    text = "A café, 3 people: naïve!"
    print(
        json.dumps(
            {
                "multilingual": model.model.is_multilingual,
                "languages": len(detected),
                "probability": sum(probability for _, probability in detected),
                "vocabulary": tokenizer.get_vocab_size(),
                "end_of_text": tokenizer.token_to_id("<|endoftext|>"),
                "first_time": tokenizer.token_to_id("<|0.00|>"),
                "round_trip": tokenizer.decode(tokenizer.encode(text).ids) == text,
            }
        )
    )


if __name__ == "__main__":
    main()
