"""The corpus, and one run of each stage over all of it."""

from pathlib import Path

import pytest

from operators.settings import ContainerLimits
from stage_contract.vocabulary import ResultStatus, Stage
from tests.corpus.cases import CORPUS
from tests.corpus.make_corpus import make_corpus
from tests.images.media.results import by_path
from tests.stage_container import Finished, StageBench

SMALL = ContainerLimits(cpus=1, memory_mib=512, pids=64)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the corpus is in; do not write to it."""
    folder = tmp_path_factory.mktemp("archive") / "corpus"
    make_corpus(folder)
    return folder


@pytest.fixture(scope="session")
def corpus_bench(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> StageBench:
    """Where both stages work on the whole corpus, with little memory."""
    return StageBench(tmp_path_factory.mktemp("corpus"), corpus, SMALL)


@pytest.fixture(scope="session")
def probed(corpus_bench: StageBench) -> Finished:
    """`media.probe` of everything that the catalog takes, in one container."""
    sources = [corpus_bench.source(case.path) for case in CORPUS if case.registration is None]
    return corpus_bench.run(corpus_bench.request(Stage.PROBE, sources, {}))


@pytest.fixture(scope="session")
def extracted(corpus_bench: StageBench, probed: Finished) -> Finished:
    """`media.extract` of everything that was probed well, in one container."""
    done = [path for path, result in by_path(probed).items() if result and result.status is ResultStatus.DONE]
    sources = [corpus_bench.source(path, probed) for path in done]
    return corpus_bench.run(corpus_bench.request(Stage.EXTRACT, sources, {}))
