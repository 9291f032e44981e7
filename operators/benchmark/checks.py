"""Whether a variant's outputs agree with the reference's, against stated tolerances. Decides; does no I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from operators.benchmark.agreement import compare_frames, entity_overlap, start_drift_s, word_error_rate, words
from stage_contract.outputs import Enrichment, Frame, Transcript
from stage_contract.vocabulary import Stage


@dataclass(frozen=True)
class Tolerance:
    """What a check allows: at most or at least `limit`, in `unit`."""

    name: str
    limit: float
    at_most: bool
    unit: str

    def allows(self, value: float) -> bool:
        """Whether a value passes."""
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{self.name} {'at most' if self.at_most else 'at least'} {self.limit:g}{self.unit}"


# int8 is 0.015 off float32 on read speech (docs/benchmarks.md), and no further from what was said. Three times that
# is another transcript.
WORD_ERROR_RATE = Tolerance("word error rate", 0.05, at_most=True, unit="")
# A subtitle half a second off is seen to be off.
START_DRIFT = Tolerance("p95 of segment start drift", 0.5, at_most=True, unit=" s")
# int8_bfloat16 keeps 0.9998 (tests/images/vision). Fifty times that distance is another picture to a search.
LOWEST_COSINE = Tolerance("lowest cosine of CLIP vectors", 0.99, at_most=False, unit="")
# Boxes at the edge of the confidence asked for come and go with rounding.
MATCHED_BOXES = Tolerance("share of boxes with a partner", 0.95, at_most=False, unit="")
MEAN_OVERLAP = Tolerance("mean overlap of boxes", 0.9, at_most=False, unit="")
# A word of fifty that is heard differently may be a name.
ENTITIES = Tolerance("share of entities with a partner", 0.9, at_most=False, unit="")

FEW_WORDS = 2
"""So many words may differ however short the text is: one of eighteen says nothing of a model."""

WORST_ALLOWED = 0.5
"""Where half of the words differ, it is another text."""

TOLERANCES = (WORD_ERROR_RATE, START_DRIFT, LOWEST_COSINE, MATCHED_BOXES, MEAN_OVERLAP, ENTITIES)


@dataclass(frozen=True)
class Check:
    """One comparison of one asset's output with the reference's. `value` is none where there was nothing to reckon
    with; `message` then says why."""

    variant: int
    stage: Stage
    asset_id: str
    name: str
    value: float | None
    limit: float
    is_passed: bool
    message: str = ""


Findings = Sequence[tuple[Tolerance, float | None, str]]
"""For each tolerance what was found: a value, or none and why."""


def check_transcripts(reference: Transcript, other: Transcript) -> Findings:
    """Words, and where they stand."""
    spoken, heard = (" ".join(segment.text for segment in one.segments) for one in (reference, other))
    drift_s = start_drift_s(reference.segments, other.segments)
    lacking = "" if drift_s is not None else "only one of the two has segments"
    allowed = max(WORD_ERROR_RATE.limit, FEW_WORDS / max(1, len(words(spoken))))
    rate = replace(WORD_ERROR_RATE, limit=min(allowed, WORST_ALLOWED))
    return [(rate, word_error_rate(spoken, heard), ""), (START_DRIFT, drift_s, lacking)]


def check_frames(reference: Sequence[Frame], other: Sequence[Frame]) -> Findings:
    """Vectors and boxes, frame by frame."""
    try:
        told = compare_frames(reference, other)
    except (ValueError, ZeroDivisionError) as error:
        return [(one, None, str(error)) for one in (LOWEST_COSINE, MATCHED_BOXES, MEAN_OVERLAP)]
    matched = _but_one(MATCHED_BOXES, 1, told.boxes)
    found: list[tuple[Tolerance, float | None, str]] = [
        (LOWEST_COSINE, told.lowest_cosine, ""),
        (matched, told.matched, ""),
    ]
    # Where no box has a partner there is no overlap to speak of.
    return [*found, (MEAN_OVERLAP, told.mean_iou, "")] if told.matched else found


def check_enrichments(reference: Enrichment, other: Enrichment) -> Findings:
    """Names found."""
    every = len(reference.entities) + len(other.entities)
    return [(_but_one(ENTITIES, 2, every), entity_overlap(reference.entities, other.entities), "")]


def _but_one(tolerance: Tolerance, lost: int, every: int) -> Tolerance:
    """The tolerance where few were found: one that comes, goes or is another may make much of them.

    `lost` is how many of both sides' `every` then lack a partner.
    """
    return replace(tolerance, limit=min(tolerance.limit, max(0.0, 1 - lost / every))) if every else tolerance


def judge(variant: int, stage: Stage, asset_id: str, findings: Findings) -> list[Check]:
    """The findings held against their tolerances."""
    return [
        Check(
            variant=variant,
            stage=stage,
            asset_id=asset_id,
            name=tolerance.name,
            value=value,
            limit=tolerance.limit,
            is_passed=value is not None and tolerance.allows(value),
            message=message,
        )
        for tolerance, value, message in findings
    ]


def missing(variant: int, stage: Stage, asset_id: str, message: str) -> Check:
    """One side alone has a result."""
    return Check(variant, stage, asset_id, "has a result", None, 1.0, is_passed=False, message=message)


def tell_failures(checks: Sequence[Check], shown: Callable[[str], str]) -> str:
    """Which checks failed, with figures. `shown` names an asset."""
    told = []
    for check in checks:
        if not check.is_passed:
            found = check.message if check.value is None else f"{check.value:.4g}, {_rule(check)}"
            told.append(f"{check.stage} of {shown(check.asset_id)}: {check.name} {found}")
    return "; ".join(told)


def _rule(check: Check) -> str:
    tolerance = next(one for one in TOLERANCES if one.name == check.name)
    return f"allowed is {'at most' if tolerance.at_most else 'at least'} {check.limit:.3g}{tolerance.unit}"
