"""Fixtures for the tests of the nlp image."""

from collections.abc import Callable
from pathlib import Path

import pytest

from operators.settings import ContainerLimits
from stage_contract.outputs import Segment, Transcript
from tests.stage_container import StageBench


@pytest.fixture
def bench(tmp_path: Path) -> StageBench:
    """Folders of the test's own, for containers with little memory."""
    return StageBench(tmp_path, limits=ContainerLimits(cpus=1, memory_mib=1024, pids=128))


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
