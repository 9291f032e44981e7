"""Which results count as current: the fingerprints that a run now would take as complete. Decides; does no I/O."""

from collections.abc import Mapping, Sequence
from itertools import product

from operators.backfill.scope import BackfillScope
from operators.routing import INPUTS, with_prerequisites
from operators.stage_plan import Build, build_fingerprints
from stage_contract.vocabulary import Stage

Wanted = dict[Stage, list[str] | None]
"""By stage, the fingerprints that count as current. None: any result does."""


def accepted_fingerprints(builds: Mapping[Stage, Sequence[Build]]) -> dict[Stage, tuple[str, ...]]:
    """All fingerprints that a run now would take as complete, by stage.

    A stage's inputs range over what is accepted of the stages that it reads. Stages without builds accept nothing,
    nor do those that read them.

    Args:
        builds: Every way to run each stage whose results are as good as another's, such as the CPU's and the GPU's.
    """
    accepted: dict[Stage, tuple[str, ...]] = {}
    for stage in Stage:
        names: dict[str, None] = {}
        for combination in product(*(accepted[needed] for needed in INPUTS[stage])):
            inputs = dict(zip(INPUTS[stage], combination, strict=True))
            for build in builds.get(stage, ()):
                names |= dict.fromkeys(build_fingerprints(build, inputs))
        accepted[stage] = tuple(names)
    return accepted


def wanted(scope: BackfillScope, builds: Mapping[Stage, Sequence[Build]]) -> Wanted:
    """The results that make an asset of the scope current, for its stages and all that they read."""
    stages = with_prerequisites(scope.stages)
    if not scope.renew:
        return dict.fromkeys(stages)
    accepted = accepted_fingerprints(builds)
    return {stage: list(accepted[stage]) for stage in stages}
