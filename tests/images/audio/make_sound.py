"""Runs inside the audio image, whose libraries it borrows: makes what media.extract would have left.

`python make_sound.py TARGET.flac [PART …]`, parts being laid end to end. A part is `silence:SECONDS`,
`tone:SECONDS` (a chord), `chords:SECONDS` (one after another), `drums:SECONDS`, `noise:SECONDS`, or
`file:PATH[:START_S-END_S]`, which is decoded. The result is 16 kHz mono.
"""

import sys

import av
import numpy as np

SAMPLE_RATE_HZ = 16_000


def main() -> None:
    target, *parts = sys.argv[1:]
    samples = np.concatenate([part_samples(*part.split(":", 1)) for part in parts])
    write_flac(target, samples)


def part_samples(kind: str, value: str) -> np.ndarray:
    if kind == "file":
        path, _, span = value.partition(":")
        start, end = (round(float(s) * SAMPLE_RATE_HZ) for s in span.split("-")) if span else (0, None)
        return decode(path)[start:end]
    count = round(float(value) * SAMPLE_RATE_HZ)
    times_s = np.arange(count) / SAMPLE_RATE_HZ
    random = np.random.default_rng(1)
    sounds = {
        "silence": lambda: np.zeros(count),
        "tone": lambda: sum(np.sin(2 * np.pi * hz * times_s) for hz in (220.0, 277.2, 329.6)) / 6,
        "noise": lambda: random.normal(0.0, 0.05, count),
        "chords": lambda: chords(times_s),
        "drums": lambda: random.normal(0.0, 0.4, count) * np.exp(-12 * (times_s % 0.5)),
    }
    return (sounds[kind]() * 32_767).astype(np.int16)


def chords(times_s: np.ndarray) -> np.ndarray:
    roots_hz = np.array([220.0, 174.6, 130.8, 196.0])[times_s.astype(int) % 4]
    waves = sum(np.sin(2 * np.pi * ratio * roots_hz * times_s) / ratio for ratio in (1.0, 1.25, 1.5, 2.0))
    return waves * np.exp(-(times_s % 1.0)) / 4


def decode(path: str) -> np.ndarray:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(path) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in (*frames, *resampler.resample(None))])


def write_flac(path: str, samples: np.ndarray) -> None:
    with av.open(path, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    main()
