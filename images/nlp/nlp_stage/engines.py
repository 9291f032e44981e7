"""The libraries behind the stage: spaCy for entities, VADER's lexicon or DistilBERT for sentiment.

They are imported here, inside functions, so that the other modules import without them.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from nlp_stage.entities import Pipeline
from stage_contract.errors import StageError
from stage_contract.models import ModelRef

LEXICON_ENGINE = "vader-lexicon"
LEXICON_NEUTRAL_BELOW = 0.05
"""The thresholds that VADER's authors give: https://github.com/cjhutto/vaderSentiment#about-the-scoring"""

NETWORK_NEUTRAL_BELOW = 0.5
"""SST-2 has no neutral class: neutral is where neither class reaches a probability of 0.75. Ours."""

NETWORK_BATCH = 32
NETWORK_MAX_TOKENS = 512

COMPONENTS_NOT_NEEDED = ("tagger", "parser", "senter", "morphologizer", "attribute_ruler", "lemmatizer")

BLANK_TOKENIZER = "nightreel.BlankTokenizer.v1"
"""Without rules, since the model's file brings all of them: with the language's own, 1,300 would be made twice."""

SPACY_CODES = {"no": "nb"}
"""Whisper's language code where spaCy has another."""

LANGUAGE_CODE = re.compile(r"[a-z]{2,3}")

UNSPACED_LANGUAGES = frozenset({"bo", "ja", "km", "lo", "my", "th", "yue", "zh"})
"""Written without spaces between words, which the key phrases go by."""


def import_spacy(with_torch: bool) -> None:
    """Import spaCy without what it takes along and the stage never uses.

    That is its command line (a third of the time), an interface of old pydantic's, which it does without where it is
    not installed, and torch (a second and 190 MiB) unless it is asked for.
    """
    command_line = ModuleType("spacy.cli.info")
    vars(command_line)["info"] = None
    unused: dict[str, ModuleType | None] = {command_line.__name__: command_line, "pydantic.v1": None}
    if not with_torch:
        unused["torch"] = None
    with _standing_in(unused):
        importlib.import_module("spacy")


@contextmanager
def _standing_in(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    # None makes an import fail as if the module were not installed:
    # https://docs.python.org/3/reference/import.html#the-module-cache
    absent = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def engine_name(model: ModelRef) -> str:
    """The name to write for a model, telling when it has no real weights."""
    return model.name if model.trained else f"{model.name} (untrained)"


def load_recognizer(path: Path) -> Pipeline:
    """The spaCy pipeline in `path`, with what entities need and no more.

    The words that it was trained with are left out: features are hashes, and a text brings its own words.

    Raises:
        StageError: it cannot recognize entities.
    """
    import spacy
    from spacy.tokenizer import Tokenizer

    spacy.registry.tokenizers(BLANK_TOKENIZER, func=lambda: lambda language: Tokenizer(language.vocab))
    pipeline: Any = spacy.load(
        path, exclude=[*COMPONENTS_NOT_NEEDED, "strings"], config={"nlp.tokenizer": {"@tokenizers": BLANK_TOKENIZER}}
    )
    if "ner" not in pipeline.pipe_names:
        raise StageError(f"the ner model must have an 'ner' component: {path} has {pipeline.pipe_names}")
    for name, component in pipeline.pipeline:
        if name == "tok2vec" and not component.listening_components:
            pipeline.disable_pipe(name)
    recognizer: Pipeline = pipeline
    return recognizer


def stop_words(language: str | None) -> frozenset[str] | None:
    """Words that carry no subject, lower-case; none when spaCy has no list or the script no word spaces."""
    if language is None or language in UNSPACED_LANGUAGES or not LANGUAGE_CODE.fullmatch(language):
        return None
    package = f"spacy.lang.{SPACY_CODES.get(language, language)}"
    if not importlib.util.find_spec(package) or not importlib.util.find_spec(f"{package}.stop_words"):
        return None
    words: frozenset[str] = frozenset(importlib.import_module(f"{package}.stop_words").STOP_WORDS)
    return words


class LexiconEngine:
    """VADER: a lexicon of 7,500 words and rules (Hutto and Gilbert, 2014). The score is its `compound`."""

    name = LEXICON_ENGINE
    neutral_below = LEXICON_NEUTRAL_BELOW

    def __init__(self) -> None:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        self._analyzer = SentimentIntensityAnalyzer()

    def scores(self, texts: Sequence[str]) -> list[float]:
        """One compound score for each text, -1..1."""
        return [float(self._analyzer.polarity_scores(text)["compound"]) for text in texts]


class NetworkEngine:
    """A sequence classifier with the classes of SST-2. The score is P(positive) - P(negative)."""

    neutral_below = NETWORK_NEUTRAL_BELOW

    def __init__(self, name: str, path: Path, threads: int) -> None:
        """Load from `path`, to compute with `threads` threads.

        Raises:
            StageError: its classes are not those of SST-2.
        """
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        torch.set_num_threads(threads)
        self.name = name
        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        self._model = AutoModelForSequenceClassification.from_pretrained(
            path, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()
        labels = {str(label).lower(): int(index) for label, index in self._model.config.label2id.items()}
        if set(labels) != {"negative", "positive"}:
            raise StageError(
                f"the sentiment model must have the classes negative and positive: {path} has {sorted(labels)}"
            )
        self._negative, self._positive = labels["negative"], labels["positive"]

    def scores(self, texts: Sequence[str]) -> list[float]:
        """One score for each text, -1..1; a text is read up to 512 tokens."""
        scores: list[float] = []
        for begin in range(0, len(texts), NETWORK_BATCH):
            batch = self._tokenizer(
                list(texts[begin : begin + NETWORK_BATCH]),
                padding=True,
                truncation=True,
                max_length=NETWORK_MAX_TOKENS,
                return_tensors="pt",
            )
            with self._torch.inference_mode():
                probabilities = self._model(**batch).logits.softmax(dim=-1)
            scores += (probabilities[:, self._positive] - probabilities[:, self._negative]).tolist()
        return scores
