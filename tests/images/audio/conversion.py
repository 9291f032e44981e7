"""Makes and converts small Whisper models inside the audio image."""

import json
from pathlib import Path

from console.terminal import REPOSITORY
from tests.images.audio.sounds import IMAGE, TESTS
from tests.stage_container import Ended, read_only, run_program, writable

CONVERT = ("-m", "converters", "--variant", "cpu")
MADE_UP = {"role": "whisper", "name": "made-up", "revision": "1", "sha256": "", "licence": "none", "trained": False}


def in_image(folder: Path, *command: str) -> Ended:
    """Run Python in the image with `folder` at /made, these tests at /tests and the converters importable."""
    volumes = (
        writable(folder, "/made"),
        read_only(TESTS, "/tests"),
        read_only(REPOSITORY / "images" / "audio", "/context"),
    )
    return run_program(IMAGE, ["python", *command], *volumes, PYTHONPATH="/context")


def convert(folder: Path, *options: str, converter: str | None = "ggml-to-ctranslate2") -> Ended:
    """Make a model with these options of make_ggml.py below `folder`, and convert it to `folder/models/whisper`."""
    (folder / "fetched" / "whisper").mkdir(parents=True)
    (folder / "fetched" / "models.json").write_text(json.dumps([MADE_UP]))
    (folder / "fetched" / "converters.json").write_text(json.dumps({"whisper": converter}))
    made = in_image(folder, "/tests/make_ggml.py", "/made/fetched/whisper/ggml-tiny.bin", *options)
    assert made.exit_code == 0, made.stderr
    return in_image(folder, *CONVERT, "--fetched", "/made/fetched", "--models", "/made/models")
