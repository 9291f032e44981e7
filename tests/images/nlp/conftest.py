"""Fixtures for the tests of the nlp image."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stage_contract.outputs import Segment, Transcript
from tests.images.nlp.nlp_container import IMAGE, RESTRICTIONS, NlpContainer


@pytest.fixture
def container(tmp_path: Path) -> NlpContainer:
    """A stage container with folders of its own."""
    for name in ("work", "results"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    return NlpContainer(tmp_path / "work", tmp_path / "results")


@pytest.fixture
def run_in_image() -> Callable[..., str]:
    """Runs another program in the image and returns what it printed."""

    def run(*command: str, mounts: Sequence[str] = ()) -> str:
        volumes = [f"--volume={mount}" for mount in mounts]
        call = ["docker", "run", *RESTRICTIONS, *volumes, "--entrypoint", command[0], IMAGE, *command[1:]]
        return subprocess.run(call, capture_output=True, text=True, timeout=300, check=True).stdout

    return run


@pytest.fixture
def transcript_of() -> Callable[..., Transcript]:
    """Makes a transcript of texts, five seconds each."""

    def make(*texts: str, language: str | None = "en") -> Transcript:
        segments = tuple(
            Segment(
                index=index,
                start_s=5.0 * index,
                end_s=5.0 * (index + 1),
                text=text,
                mean_log_probability=-0.2,
                no_speech_probability=0.01,
            )
            for index, text in enumerate(texts)
        )
        return Transcript(
            language=language,
            language_probability=0.99 if language else None,
            duration_s=5.0 * len(texts),
            speech_duration_s=5.0 * len(texts),
            segments=segments,
        )

    return make
