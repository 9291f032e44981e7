import pytest

from operators.routing import INPUTS, DevicePolicy, equal_variants, with_prerequisites
from stage_contract.vocabulary import Stage, Variant


@pytest.mark.parametrize(
    ("stage", "variant", "policy", "as_good"),
    [
        (Stage.TRANSCRIBE, Variant.CPU, DevicePolicy.AUTO, [Variant.CUDA]),
        (Stage.TRANSCRIBE, Variant.CUDA, DevicePolicy.AUTO, [Variant.CPU]),
        (Stage.TRANSCRIBE, Variant.CUDA, DevicePolicy.GPU, []),
        (Stage.ANALYZE, Variant.CPU, DevicePolicy.GPU, [Variant.CUDA]),
        (Stage.ANALYZE, Variant.CPU, DevicePolicy.CPU, []),
        (Stage.ENRICH, Variant.CPU, DevicePolicy.AUTO, []),
    ],
)
def test_results_of_the_other_device_count_unless_a_device_was_insisted_on(stage, variant, policy, as_good):
    assert equal_variants(stage, variant, policy) == as_good


def test_a_stage_brings_what_it_reads_and_nothing_else():
    assert with_prerequisites([Stage.ENRICH]) == (Stage.PROBE, Stage.EXTRACT, Stage.TRANSCRIBE, Stage.ENRICH)
    assert with_prerequisites([Stage.ANALYZE]) == (Stage.PROBE, Stage.ANALYZE)
    assert with_prerequisites([]) == (Stage.PROBE,)


def test_stages_are_declared_in_an_order_in_which_they_can_run():
    done: set[Stage] = set()
    for stage in Stage:
        assert set(INPUTS[stage]) <= done
        done.add(stage)
