"""Whether a variant's outputs agree with the reference's, against stated tolerances. Decides; does no I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from operators.benchmark.agreement import compare_frames, entity_overlap, start_drift_s, word_error_rate
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
# bfloat16 keeps 0.9999; neighbouring frames of one shot are about 0.98 alike, so below 0.99 a hit may be another frame.
LOWEST_COSINE = Tolerance("lowest cosine of CLIP vectors", 0.99, at_most=False, unit="")
# Boxes at the edge of the confidence asked for come and go with rounding.
MATCHED_BOXES = Tolerance("share of boxes with a partner", 0.95, at_most=False, unit="")
MEAN_OVERLAP = Tolerance("mean overlap of boxes", 0.9, at_most=False, unit="")
# A word of fifty that is heard differently may be a name.
ENTITIES = Tolerance("share of entities with a partner", 0.9, at_most=False, unit="")

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
    texts = [" ".join(segment.text for segment in one.segments) for one in (reference, other)]
    drift_s = start_drift_s(reference.segments, other.segments)
    lacking = "" if drift_s is not None else "only one of the two has segments"
    return [(WORD_ERROR_RATE, word_error_rate(*texts), ""), (START_DRIFT, drift_s, lacking)]


def check_frames(reference: Sequence[Frame], other: Sequence[Frame]) -> Findings:
    """Vectors and boxes, frame by frame."""
    wanted = (LOWEST_COSINE, MATCHED_BOXES, MEAN_OVERLAP)
    try:
        told = compare_frames(reference, other)
    except (ValueError, ZeroDivisionError) as error:
        return [(one, None, str(error)) for one in wanted]
    return list(zip(wanted, (told.lowest_cosine, told.matched, told.mean_iou), ("", "", ""), strict=True))


def check_enrichments(reference: Enrichment, other: Enrichment) -> Findings:
    """Names found."""
    return [(ENTITIES, entity_overlap(reference.entities, other.entities), "")]


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
    return f"allowed is {'at most' if tolerance.at_most else 'at least'} {tolerance.limit:g}{tolerance.unit}"
