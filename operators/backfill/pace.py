"""How many runs are under way at a time. Decides; does no I/O."""

LEAST_RUNS = 16
"""Runs of `process_media` that a small machine allows at a time: those asked for by hand wait for no backfill."""


def runs_wanted(cpu_slots: int, gpu_slots: int) -> int:
    """Runs of a backfill that keep the pools busy and no more.

    One for each slot, since a run may be down to one container, and one that fills the gaps between two stages.
    """
    return cpu_slots + gpu_slots + 1


def most_runs(cpu_slots: int, gpu_slots: int) -> int:
    """`max_active_runs` of `process_media`: a backfill's runs, and as many again for people."""
    return max(LEAST_RUNS, 2 * runs_wanted(cpu_slots, gpu_slots))


def runs_to_launch(active: int, wanted: int, is_open: bool, is_paused: bool) -> int:
    """How many runs to launch now."""
    return max(0, wanted - active) if is_open and not is_paused else 0
