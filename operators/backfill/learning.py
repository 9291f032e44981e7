"""What recorded runs teach: how fast stages work, how long runs take, how dense media is."""

from collections import defaultdict

from operators.backfill.estimate import OVER_ALL, STARTING_RATES, Rates, Stretch
from operators.backfill.fitting import FEWEST, Sample, fit_rate, fit_stretch
from operators.database import Database, transaction
from operators.queries import query
from stage_contract.vocabulary import Stage, Variant

LATEST_ATTEMPTS = 200
LATEST_ITEMS = 1_000
LATEST_SHARDS = 50
DENSITY_SAMPLE = 20_000


def learn_rates(database: Database) -> Rates:
    """The rate of every stage and variant, learned from its latest attempts that ended in order.

    The work on an asset is the union of the spans of its phases of kind work in one attempt, all of them done, where
    the stage has a good result of it. What too few samples mean stands in `operators.backfill.fitting`.
    """
    row = {
        "stages": [stage for stage, _ in STARTING_RATES],
        "variants": [variant for _, variant in STARTING_RATES],
        "attempts": LATEST_ATTEMPTS,
        "items": LATEST_ITEMS,
    }
    samples: dict[tuple[Stage, Variant], list[Sample]] = defaultdict(list)
    overheads_s: dict[tuple[Stage, Variant], list[float]] = defaultdict(list)
    with transaction(database) as connection:
        for found in connection.execute(query("recent_item_work"), row):
            samples[Stage(found.stage), Variant(found.variant)].append(Sample(found.duration_s, found.work_s))
        for found in connection.execute(query("recent_container_overhead"), row):
            overheads_s[Stage(found.stage), Variant(found.variant)].append(found.overhead_s)
    return {kind: fit_rate(start, samples[kind], overheads_s[kind]) for kind, start in STARTING_RATES.items()}


def learn_stretch(database: Database) -> Stretch:
    """How much longer the latest shards took than the work and overhead recorded in their runs.

    The time from asking for a run to its end is compared with its own timings, not with what was expected: how far
    rates are off is told by their `low` and `high`, and they learn by themselves. Runs that stepped aside do not count.
    """
    with transaction(database) as connection:
        found = connection.execute(query("recent_shard_times"), {"shards": LATEST_SHARDS})
        return fit_stretch([row.wall_s / row.busy_s for row in found])


def learn_densities(database: Database) -> dict[str, float]:
    """Bytes per second of probed media by file-name ending in lower case, and over all by `OVER_ALL`: medians.

    An asset's id is a hash, so the first assets in its order are a sample. Endings of fewer than five are left out.
    """
    row = {"sample": DENSITY_SAMPLE, "over_all": OVER_ALL, "fewest": FEWEST}
    with transaction(database) as connection:
        found = connection.execute(query("media_densities"), row)
        return {density.ending: density.bytes_per_s for density in found}
