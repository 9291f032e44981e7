"""How many runs are under way at a time. Decides; does no I/O."""

import math

FIRST_REST_S = 60.0
LONGEST_REST_S = 900.0
LEAST_RUNS = 16
"""Runs of `process_media` that a small machine allows at a time: those asked for by hand wait for no backfill."""


def runs_wanted(cpu_slots: int, gpu_slots: int) -> int:
    """Runs of a backfill that keep the pools busy and no more.

    One for each slot, since a run may be down to one container, and one that fills the gaps between two stages.
    """
    return cpu_slots + gpu_slots + 1


def rest_s(fruitless: int, wanted: int) -> float:
    """How long to launch nothing after so many runs in a row came to none of their assets.

    Something that all runs need is away then, such as the Docker engine. To go on at once would use up what each asset
    has of returns. Doubles with each round of runs, from one minute to a quarter of an hour.
    """
    if fruitless == 0:
        return 0.0
    rounds = math.ceil(fruitless / wanted)
    return min(FIRST_REST_S * 2.0 ** min(rounds - 1, 10), LONGEST_REST_S)


def most_runs(cpu_slots: int, gpu_slots: int) -> int:
    """`max_active_runs` of `process_media`: a backfill's runs, and as many again for people."""
    return max(LEAST_RUNS, 2 * runs_wanted(cpu_slots, gpu_slots))


def runs_to_launch(active: int, wanted: int, is_open: bool, is_paused: bool) -> int:
    """How many runs to launch now."""
    return max(0, wanted - active) if is_open and not is_paused else 0
