"""Makes and converts small Whisper models inside the audio image."""

import json
import os
import subprocess
from pathlib import Path

from console.terminal import REPOSITORY
from tests.images.audio.container import IMAGE, TESTS, docker

MADE_UP = {"role": "whisper", "name": "made-up", "revision": "1", "sha256": "", "licence": "none", "trained": False}


def in_image(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the image with `folder` at /work, these tests at /tests and the converters importable."""
    mounts = [f"{folder}:/work", f"{TESTS}:/tests:ro", f"{REPOSITORY / 'images' / 'audio'}:/context:ro"]
    volumes = [argument for mount in mounts for argument in ("--volume", mount)]
    user = f"{os.getuid()}:{os.getgid()}"
    options = ["--rm", "--network", "none", "--user", user, "--env", "PYTHONPATH=/context", "--entrypoint", "python"]
    return docker("run", *options, *volumes, IMAGE, *command)


def convert(
    folder: Path, *options: str, converter: str | None = "ggml-to-ctranslate2"
) -> subprocess.CompletedProcess[str]:
    """Make a model with these options of make_ggml.py below `folder`, and convert it to `folder/models/whisper`."""
    (folder / "fetched" / "whisper").mkdir(parents=True)
    (folder / "fetched" / "models.json").write_text(json.dumps([MADE_UP]))
    (folder / "fetched" / "converters.json").write_text(json.dumps({"whisper": converter}))
    made = in_image(folder, "/tests/make_ggml.py", "/work/fetched/whisper/ggml-tiny.bin", *options)
    if made.returncode != 0:
        raise RuntimeError(f"the model could not be made: {made.stderr}")
    return in_image(folder, "-m", "converters", "--fetched", "/work/fetched", "--models", "/work/models")
