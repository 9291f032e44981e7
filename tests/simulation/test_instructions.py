"""What a simulated film can say."""

import pytest

from simulated_stage.instructions import Action, Instruction, read_instructions
from stage_contract.errors import StageError
from stage_contract.vocabulary import Stage, Variant

FILM = """A tape of the harbour
vision.analyze cuda: sleep 2.5
vision.analyze: oom
audio.transcribe: reject corrupt
vision.analyze cuda: broken
"""


def test_a_stage_obeys_the_lines_for_it_and_its_variant_in_their_order():
    assert read_instructions(FILM, Stage.ANALYZE, Variant.CUDA) == [
        Instruction(Action.SLEEP, "2.5"),
        Instruction(Action.OOM),
        Instruction(Action.BROKEN),
    ]
    assert read_instructions(FILM, Stage.ANALYZE, Variant.CPU) == [Instruction(Action.OOM)]


def test_a_stage_that_is_not_named_has_nothing_to_do():
    assert read_instructions(FILM, Stage.ENRICH, Variant.CPU) == []


@pytest.mark.parametrize(
    "line",
    [
        "vision.analyze cuda: dance",
        "vision.analyze tpu: broken",
        "vision.analyze cuda sleep 5",
        "vision.analyze: sleep long",
        "vision.analyze: broken twice",
        "audio.transcribe: reject whim",
        "audio.transcribe: take",
    ],
)
def test_a_misspelt_instruction_is_refused_by_every_stage(line):
    with pytest.raises(StageError, match="change the media file"):
        read_instructions(line, Stage.PROBE, Variant.CPU)
