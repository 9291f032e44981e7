import pytest

from operators.errors import ChoiceInvalid
from operators.routing import INPUTS, DevicePolicy, choose_variant, with_prerequisites
from stage_contract.vocabulary import Stage, Variant

GPU = ("GPU-1a2b",)


@pytest.mark.parametrize(
    ("stage", "policy", "gpus", "variant"),
    [
        (Stage.TRANSCRIBE, DevicePolicy.AUTO, (), Variant.CPU),
        (Stage.TRANSCRIBE, DevicePolicy.AUTO, GPU, Variant.CUDA),
        (Stage.TRANSCRIBE, DevicePolicy.CPU, GPU, Variant.CPU),
        (Stage.ANALYZE, DevicePolicy.GPU, GPU, Variant.CUDA),
        (Stage.ENRICH, DevicePolicy.GPU, GPU, Variant.CPU),
        (Stage.PROBE, DevicePolicy.GPU, (), Variant.CPU),
    ],
)
def test_the_policy_decides_where_the_stage_and_the_machine_allow_it(stage, policy, gpus, variant):
    assert choose_variant(stage, policy, gpus) is variant


def test_insisting_on_a_gpu_that_is_not_there_is_an_error_with_a_remedy():
    with pytest.raises(ChoiceInvalid, match="NIGHTREEL_GPU_DEVICES"):
        choose_variant(Stage.TRANSCRIBE, DevicePolicy.GPU, ())


def test_a_stage_brings_what_it_reads_and_nothing_else():
    assert with_prerequisites([Stage.ENRICH]) == (Stage.PROBE, Stage.EXTRACT, Stage.TRANSCRIBE, Stage.ENRICH)
    assert with_prerequisites([Stage.ANALYZE]) == (Stage.PROBE, Stage.ANALYZE)
    assert with_prerequisites([]) == (Stage.PROBE,)


def test_stages_are_declared_in_an_order_in_which_they_can_run():
    done: set[Stage] = set()
    for stage in Stage:
        assert set(INPUTS[stage]) <= done
        done.add(stage)
