"""The labels of both models become the same words."""

import pytest

from nlp_stage.entities import common_label


@pytest.mark.parametrize(
    ("ontonotes", "presidio"), [("PERSON", "PER"), ("NORP", "NRP"), ("GPE", "LOC"), ("DATE", "DATE_TIME")]
)
def test_two_models_call_the_same_thing_by_the_same_word(ontonotes: str, presidio: str) -> None:
    assert common_label(ontonotes) == common_label(presidio)


def test_a_label_without_a_word_of_ours_is_lower_cased() -> None:
    assert common_label("CHEMICAL") == "chemical"
