"""What counts as current is what a run now would find complete: asked of `plan_stage` itself."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from operators.backfill.current_results import accepted_fingerprints, wanted
from operators.backfill.scope import BackfillScope
from operators.routing import INPUTS, with_prerequisites
from operators.shard import Shard, ShardItem, StageIndex, StageItem
from operators.stage_plan import Build, StageChoice, StageImage, full_parameters, plan_stage
from stage_contract.vocabulary import ItemOutcome, Stage

ASSET = "a" * 64
SHARD = Shard(items=(ShardItem(asset_id=ASSET, root="archive", path="a", size_bytes=1, mtime_ns=1),))


def build(stage: Stage, version: str, compute_type: str = "float32", smaller: str | None = None) -> Build:
    choice = StageChoice(stage, compute_type, full_parameters(stage, {}), smaller)
    return choice, StageImage(f"nightreel/{stage}", f"sha256:{version}", version, ())


CPU_ONLY = {stage: [build(stage, "1")] for stage in Stage}
WITH_GPU = CPU_ONLY | {
    Stage.TRANSCRIBE: [build(Stage.TRANSCRIBE, "1", "int8"), build(Stage.TRANSCRIBE, "1", "float16", "int8_float16")],
    Stage.ANALYZE: [build(Stage.ANALYZE, "1"), build(Stage.ANALYZE, "1", "float16")],
}
BUILDS = st.tuples(
    *(
        st.lists(
            st.builds(build, st.just(stage), st.sampled_from("12"), st.sampled_from("ab"), st.none() | st.just("c")),
            max_size=2,
        )
        for stage in Stage
    )
).map(lambda builds: dict(zip(Stage, builds, strict=True)))  # fmt: skip


def asked_for(tmp_path_factory, builds: dict[Stage, list[Build]]) -> dict[Stage, set[str]]:
    """By stage, what `plan_stage` names for each result that it may find of the stages read."""
    nowhere = tmp_path_factory.getbasetemp() / "no_results"
    names: dict[Stage, set[str]] = {}
    for stage in Stage:
        names[stage] = set()
        for found in product(*(names[needed] for needed in INPUTS[stage])):
            upstream = {
                needed: StageIndex(stage=needed, items={ASSET: StageItem(fingerprint=name, outcome=ItemOutcome.REUSED)})
                for needed, name in zip(INPUTS[stage], found, strict=True)
            }
            for one in builds[stage]:
                (item,) = plan_stage(nowhere, SHARD, upstream, one).waiting
                names[stage] |= {item.fingerprint, *filter(None, [item.smaller_fingerprint])}
    return names


@given(builds=BUILDS)
def test_accepted_is_what_a_run_would_ask_for(tmp_path_factory, builds) -> None:
    accepted = accepted_fingerprints(builds)

    assert {stage: set(names) for stage, names in accepted.items()} == asked_for(tmp_path_factory, builds)
    assert all(len(names) == len(set(names)) for names in accepted.values())


def test_results_of_either_device_are_accepted_and_what_reads_them_too() -> None:
    accepted = accepted_fingerprints(WITH_GPU)

    assert {stage: len(names) for stage, names in accepted.items()} == {
        Stage.PROBE: 1,
        Stage.EXTRACT: 1,
        Stage.TRANSCRIBE: 3,
        Stage.ANALYZE: 2,
        Stage.ENRICH: 3,
    }


def test_a_new_version_makes_old_results_and_all_that_read_them_stale() -> None:
    newer = CPU_ONLY | {Stage.EXTRACT: [build(Stage.EXTRACT, "2")]}
    before, after = accepted_fingerprints(CPU_ONLY), accepted_fingerprints(newer)

    stale = {stage for stage in Stage if not set(before[stage]) & set(after[stage])}
    assert stale == {Stage.EXTRACT, Stage.TRANSCRIBE, Stage.ENRICH}


def test_renewing_asks_for_what_would_be_made_now_and_else_anything_counts() -> None:
    enrichment = BackfillScope(stages=(Stage.ENRICH,))
    stages = with_prerequisites([Stage.ENRICH])

    assert wanted(enrichment, CPU_ONLY) == dict.fromkeys(stages)
    accepted = accepted_fingerprints(CPU_ONLY)
    renewed = wanted(enrichment.model_copy(update={"renew": True}), CPU_ONLY)
    assert renewed == {stage: list(accepted[stage]) for stage in stages}
