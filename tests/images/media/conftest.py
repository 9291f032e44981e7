"""The corpus, and one run of each stage over all of it."""

from pathlib import Path

import pytest

from stage_contract.vocabulary import ResultStatus, Stage
from tests.corpus.cases import CORPUS
from tests.corpus.make_corpus import make_corpus
from tests.images.media.containers import (
    EXTRACT_PARAMETERS,
    PROBE_PARAMETERS,
    Shard,
    make_items,
    run_container,
)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the corpus is in; do not write to it."""
    folder = tmp_path_factory.mktemp("archive") / "corpus"
    make_corpus(folder)
    return folder


@pytest.fixture(scope="session")
def shard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both stages' results of the whole corpus go."""
    return tmp_path_factory.mktemp("shard")


@pytest.fixture(scope="session")
def probed(corpus: Path, shard_folder: Path) -> Shard:
    """`media.probe` of everything that the catalog takes, in one container."""
    paths = [case.path for case in CORPUS if case.registration is None]
    items = make_items(corpus, paths, Stage.PROBE, PROBE_PARAMETERS)
    return run_container(corpus, items, Stage.PROBE, PROBE_PARAMETERS, shard_folder)


@pytest.fixture(scope="session")
def extracted(corpus: Path, shard_folder: Path, probed: Shard) -> Shard:
    """`media.extract` of everything that was probed well, in one container."""
    paths = [path for path, result in probed.results.items() if result and result.status is ResultStatus.DONE]
    items = make_items(corpus, paths, Stage.EXTRACT, EXTRACT_PARAMETERS, earlier=probed)
    return run_container(corpus, items, Stage.EXTRACT, EXTRACT_PARAMETERS, shard_folder)
