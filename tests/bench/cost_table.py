"""What a backfill took, beside the same work in warm processes, as Markdown."""

from collections.abc import Mapping, Sequence

from stage_contract.vocabulary import Phase, Stage
from tests.bench.measured_backfill import SCAN_AND_PLAN, MeasuredBackfill, ShardTruth
from tests.bench.same_results import ResultAgreement
from tests.bench.slot_time import IDLE

COSTS: tuple[str, ...] = (
    Phase.IMPORT,
    Phase.MODEL_LOAD,
    Phase.CONTAINER_START,
    Phase.TASK_START,
    Phase.PREPARE,
    Phase.COLLECT,
    Phase.REGISTER,
    Phase.PUBLISH,
    Phase.BRANCH,
    Phase.QUEUE,
    SCAN_AND_PLAN,
    IDLE,
)
"""Parts of a backfill's time that warm processes do not have, in the order of the table."""


def ratio(backfill: MeasuredBackfill, warm: Mapping[Stage, float]) -> float:
    """1 would be: orchestration costs nothing."""
    return sum(warm.values()) / backfill.wall_s


def cost_lines(backfill: MeasuredBackfill, warm: Mapping[Stage, float]) -> list[str]:
    """The ratio, and a table of what stands between the two sides. Its first two columns add up."""
    warm_s = sum(warm.values())
    lines = [
        f"Warm processes {_number(warm_s)} s, backfill {_number(backfill.wall_s)} s: "
        f"**ratio {ratio(backfill, warm):.2f}**.",
        "",
        "| | backfill, s | share | warm, s |",
        "|---|---|---|---|",
    ]
    for stage in Stage:
        lines.append(_row(f"work of `{stage}`", backfill.parts.get(stage, 0.0), backfill.wall_s, warm.get(stage, 0.0)))
    others = sorted(set(backfill.parts) - set(Stage) - set(COSTS))
    for part in (*COSTS, *others):
        if part in backfill.parts:
            told = part if part in (SCAN_AND_PLAN, IDLE) else f"`{part}`"
            lines.append(_row(told, backfill.parts[part], backfill.wall_s))
    return [*lines, _row("all", backfill.wall_s, backfill.wall_s, warm_s)]


def shard_lines(shards: Sequence[ShardTruth]) -> list[str]:
    """What was expected of each shard, and what it took."""
    within = sum(shard.taken_s <= shard.longest_s for shard in shards)
    lines = [
        f"Of {len(shards)} shards, {within} ended within the longest time expected.",
        "",
        "| shard | assets | expected, s | at most, s | taken, s | taken / expected |",
        "|---|---|---|---|---|---|",
    ]
    for shard in shards:
        figures = map(_number, (shard.expected_s, shard.longest_s, shard.taken_s))
        quotient = f"{shard.taken_s / shard.expected_s:.2f}" if shard.expected_s else ""
        lines.append(f"| `{shard.run_id}` | {shard.assets} | {' | '.join(figures)} | {quotient} |")
    return lines


def agreement_line(told: ResultAgreement) -> str:
    """Whether both sides made the same."""
    return (
        f"{told.results} results of the backfill; {told.only_first} with a fingerprint that the warm processes did not "
        f"make, {told.only_second} the other way round; "
        f"{told.transcripts_differ} of {told.transcripts} transcripts differ."
    )


def _row(told: str, seconds: float, wall_s: float, warm_s: float | None = None) -> str:
    warm = "" if warm_s is None else _number(warm_s)
    return f"| {told} | {_number(seconds)} | {seconds / wall_s:.1%} | {warm} |"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
