"""Forty shards on two small GPUs and a large one, while what holds the GPUs is killed at random."""

import math
import random
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from console.airflow_api import RunState
from operators.gpu.configuration import DEFAULT_RESERVE_MIB
from simulated_stage.workers import DEVICE_FILE, DeviceSeen
from stage_contract.gpu_health import HealthVerdict
from stage_contract.vocabulary import Stage, Variant
from tests.deployment import wait_until
from tests.e2e_gpu.conftest import GpuDeployment
from tests.e2e_gpu.container_log import ContainerLife, ContainerLog
from tests.e2e_gpu.holders import TAKES_MIB, Holder, Kill, forget_peaks, holders, kill, leases_of
from tests.e2e_gpu.packing import (
    Bin,
    Job,
    idle_waits_s,
    lower_bound_s,
    pack_as_asked_s,
    pack_longest_first_s,
    span_s,
    utilisation,
)
from tests.operators.gpu.lease_log import most_held
from tests.simulation.deployment import BUDGET_MIB
from tests.simulation.host import DEFAULT_GPUS, SMALL_GPUS

SEED = 20261121
SHARDS = 40
AUDIO, VISION = Stage.TRANSCRIBE, Stage.ANALYZE
MIXES = [[AUDIO]] * 14 + [[VISION]] * 14 + [[AUDIO, VISION]] * 12
SHORTEST_S, LONGEST_S = 5, 25
SLOTS = {AUDIO: 2, VISION: 1}
KILLS = [
    *[Kill()] * 5,
    *[Kill(container=True)] * 3,
    *[Kill(supervisor=True)] * 2,
    *[Kill(supervisor=True, container=True)] * 2,
]
LEAST_KILLS = 8
KILLS_WITHIN_S = 240.0
PAUSE_S = (2.0, 8.0)
# Another program's: the second small GPU has room for its three slots still, and not for all of its capacity.
TAKEN_UUID, TAKEN_MIB = SMALL_GPUS[1].uuid, 1000
# Between what the engine and the database call the same instant.
CLOCKS_DIFFER_S = 0.5
FILES = "select run_id, path, outcome from run_item where run_id = any(:run_ids)"
ATTEMPTS = """
select run_id, task_id, try_number, device, container_id, lease_id, outcome, exit_code, message from stage_attempt
where run_id = any(:run_ids) and task_id like '%gpu' order by started_at
"""
BINS = tuple(
    Bin(gpu.uuid, capacity_mib, capacity_mib // BUDGET_MIB)
    for gpu in DEFAULT_GPUS
    if (capacity_mib := gpu.total_mib - gpu.reserved_mib - DEFAULT_RESERVE_MIB)
)
# What is left for leases beside the other program.
ROOM_MIB = {
    gpu.uuid: min(room.capacity_mib, gpu.total_mib - gpu.reserved_mib - (TAKEN_MIB if gpu.uuid == TAKEN_UUID else 0))
    for gpu, room in zip(DEFAULT_GPUS, BINS, strict=True)
}


@dataclass(frozen=True)
class Killed:
    holder: Holder
    how: Kill
    at: datetime


@dataclass(frozen=True)
class Night:
    """All that is known of the forty runs once they have ended."""

    deployment: GpuDeployment
    runs: list[RunState]
    kills: list[Killed]
    leases: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    lives: dict[str, ContainerLife]
    took_s: float

    @property
    def granted(self) -> list[dict[str, Any]]:
        return [lease for lease in self.leases if lease["granted_at"]]


@pytest.fixture(scope="module")
def night(gpu_stack):
    """Run the forty shards, and kill."""
    gpu_stack.heal()
    chance = random.Random(SEED)
    forget_peaks(gpu_stack)
    gpu_stack.host.take(TAKEN_UUID, TAKEN_MIB)
    gpu_stack.await_verdict(HealthVerdict.HEALTHY)
    wait_until(lambda: used_mib(gpu_stack, TAKEN_UUID), lambda mib: mib >= TAKEN_MIB, 30)
    began_s = time.monotonic()
    with ContainerLog(gpu_stack.host.engine) as containers:
        runs = [start(gpu_stack, chance, number, stages) for number, stages in enumerate(shuffled(chance, MIXES))]
        kills = kill_at_random(gpu_stack, chance)
        ended = [gpu_stack.wait(run) for run in runs]
    names = {"run_ids": [run.run_id for run in runs]}
    yield Night(
        gpu_stack,
        ended,
        kills,
        leases_of(gpu_stack, *runs),
        gpu_stack.rows(ATTEMPTS, **names),
        containers.lives,
        time.monotonic() - began_s,
    )
    gpu_stack.heal()


def shuffled(chance, things):
    return chance.sample(things, len(things))


def start(deployment, chance, number, stages):
    """A shard of one film."""
    lines = [
        line
        for stage in stages
        for line in (
            f"{stage} cuda: take {TAKES_MIB[stage]}",
            f"{stage} cuda: sleep {chance.randint(SHORTEST_S, LONGEST_S)}",
        )
    ]
    film = deployment.film(f"packing/{number} tape.mp4", *lines)
    return deployment.start(film, stages=[str(stage) for stage in stages])


def kill_at_random(deployment, chance):
    """Kill while there are holders, none of them twice: a film that is killed twice is given up."""
    killed: list[Killed] = []
    deadline_s = time.monotonic() + KILLS_WITHIN_S
    # Those that Airflow misses late go first, so that the wait for it is not added at the end.
    for how in sorted(shuffled(chance, KILLS), key=lambda kind: not kind.supervisor):
        struck = None
        while struck is None and time.monotonic() < deadline_s:
            spared = {(one.holder.run_id, one.holder.task_id) for one in killed}
            found = [one for one in holders(deployment) if (one.run_id, one.task_id) not in spared]
            if len(found) > 1:
                holder = chance.choice(found)
                struck = kill(deployment, holder, how)
            if struck is None:
                time.sleep(0.3)
        if struck:
            killed.append(Killed(holder, how, struck))
        time.sleep(chance.uniform(*PAUSE_S))
    return killed


def used_mib(deployment, uuid):
    return next(device.used_mib for device in deployment.agent.health().devices if device.device_uuid == uuid)


def test_all_shards_are_done_though_holders_were_killed(night):
    assert len(night.kills) >= LEAST_KILLS
    assert {run.state for run in night.runs} == {"success"}
    files = night.deployment.rows(FILES, run_ids=[run.run_id for run in night.runs])
    assert Counter(file["outcome"] for file in files) == {"done": SHARDS}
    assert {file["run_id"] for file in files} == {run.run_id for run in night.runs}
    lost = [attempt for attempt in night.attempts if attempt["outcome"] == "lost"]
    assert len(lost) == len(night.kills)


def test_no_device_is_ever_over_its_capacity_less_what_others_take(night):
    most_held(night.deployment.media_database())
    changes: dict[datetime, list[tuple[str, int]]] = defaultdict(list)
    for lease in night.granted:
        changes[lease["granted_at"]].append((lease["device_uuid"], lease["leased_mib"]))
        changes[lease["ended_at"]].append((lease["device_uuid"], -lease["leased_mib"]))
    held: Counter[str] = Counter()
    for instant in sorted(changes):
        for uuid, mib in changes[instant]:
            held[uuid] += mib
        assert all(held[uuid] <= room for uuid, room in ROOM_MIB.items()), (instant, held)
        granted = [lease for lease in night.granted if lease["granted_at"] == instant]
        for lease in granted:
            total = next(gpu.total_mib for gpu in DEFAULT_GPUS if gpu.uuid == lease["device_uuid"])
            assert held[lease["device_uuid"]] <= total - lease["foreign_mib"], lease
    assert min(lease["foreign_mib"] for lease in night.granted if lease["device_uuid"] == TAKEN_UUID) >= TAKEN_MIB
    assert all(lease["peak_mib"] <= lease["leased_mib"] for lease in night.granted if lease["peak_mib"])


def test_each_container_got_the_device_that_its_lease_names_while_it_was_leased(night):
    mine = [grant for grant in night.deployment.host.grants() if grant.container_id in night.lives]
    devices = {grant.container_id: grant.devices for grant in mine}
    leases = leases_by_container(night)
    assert set(leases) == set(devices)
    for container, (lease,) in leases.items():
        assert devices[container] == (lease["device_uuid"],)
        life = night.lives[container]
        assert lease["granted_at"] <= life.started_at + timedelta(seconds=CLOCKS_DIFFER_S), (lease, life)
        assert life.ended_at <= lease["ended_at"] + timedelta(seconds=CLOCKS_DIFFER_S), (lease, life)
    assert all(attempt["device"] == devices[attempt["container_id"]][0] for attempt in on_gpu(night))


def test_each_result_was_made_on_the_device_of_its_containers_lease(night):
    leases = {container[:12]: lease for container, (lease,) in leases_by_container(night).items()}
    seen = [
        DeviceSeen.model_validate_json(path.read_text())
        for path in night.deployment.settings.results.glob(f"assets/*/*/*/{DEVICE_FILE}")
    ]
    mine = [device for device in seen if device.container_id in leases]
    assert len(mine) == sum(len(mix) for mix in MIXES)
    for device in mine:
        assert device.variant is Variant.CUDA
        assert device.device == leases[device.container_id]["device_uuid"]


def test_nothing_is_left(night):
    assert holders(night.deployment) == []
    assert all(lease["ended_at"] for lease in night.leases)
    run_ids = {run.run_id for run in night.runs}
    left = night.deployment.stage_docker("ps", "--all", "--format", '{{.Label "nightreel.run_id"}}').splitlines()
    assert not run_ids & set(left)


def test_the_devices_were_used_no_better_than_possible(night, capsys):
    """What is reached is told, not demanded: Airflow's own time for each task bounds it."""
    jobs = jobs_of(night)
    possible_s = lower_bound_s(jobs, BINS)
    assert possible_s <= pack_longest_first_s(jobs, BINS)
    assert possible_s <= span_s(jobs)
    with capsys.disabled():
        print(f"\n{told(night, jobs)}")


def leases_by_container(night):
    """By container: the lease under which it ran. A try that died may have named its container in its attempt only."""
    by_id = {lease["lease_id"]: lease for lease in night.leases}
    found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    named = [*night.granted, *(attempt for attempt in night.attempts if attempt["lease_id"])]
    for row in named:
        if row["container_id"]:
            found[row["container_id"]][row["lease_id"]] = by_id[row["lease_id"]]
    return {container: list(leases.values()) for container, leases in found.items()}


def on_gpu(night):
    return [attempt for attempt in night.attempts if attempt["container_id"]]


def jobs_of(night):
    begin = min(lease["asked_at"] for lease in night.leases)

    def seconds(instant):
        return (instant - begin).total_seconds()

    return [
        Job(
            lease["device_uuid"],
            lease["leased_mib"],
            SLOTS[Stage(lease["stage"])],
            seconds(lease["asked_at"]),
            seconds(lease["granted_at"]),
            seconds(lease["ended_at"]),
        )
        for lease in night.granted
    ]


def told(night, jobs):
    """The report, for people."""
    over_s = span_s(jobs)
    packed_s, bound_s = pack_longest_first_s(jobs, BINS), lower_bound_s(jobs, BINS)
    from_asked_s = max(job.ended_s for job in jobs)
    idle, waits = idle_waits_s(jobs, BINS), [job.granted_s - job.asked_s for job in jobs]
    kinds = Counter(str(one.how) for one in night.kills)
    moved = sum(attempt["outcome"] == "moved" for attempt in night.attempts)
    rows = [(bin_.uuid, [bin_]) for bin_ in BINS] + [("all", list(BINS))]
    lines = [
        f"{SHARDS} shards in {night.took_s:.0f} s; {len(jobs)} leases, {len(night.kills)} holders killed "
        f"({', '.join(f'{count} x {kind}' for kind, count in sorted(kinds.items()))}), {moved} moved to the CPU",
        f"first grant to last end {over_s:.1f} s; the leases' area allows {bound_s:.1f} s at best, packed offline, "
        f"longest first, {packed_s:.1f} s; placed at once as they came, {pack_as_asked_s(jobs, BINS):.1f} s of "
        f"{from_asked_s:.1f} s",
        *(
            f"  {name:6} used {utilisation(jobs, bins, over_s):4.0%} of MiB-seconds, "
            f"{utilisation(jobs, bins, over_s, in_slots=True):4.0%} of slot-seconds"
            for name, bins in rows
        ),
        f"  possible {utilisation(jobs, BINS, packed_s):4.0%} of MiB-seconds, "
        f"{utilisation(jobs, BINS, packed_s, in_slots=True):4.0%} of slot-seconds",
        f"leases lasted {math.fsum(job.duration_s for job in jobs) / len(jobs):.1f} s on average; a grant was waited "
        f"for {sorted(waits)[len(waits) // 2]:.1f} s (median), {max(waits):.1f} s at most; of {sum(waits):.1f} s in "
        f"all some GPU had room for {sum(idle):.1f} s, {max(idle):.1f} s at most",
        "What is not used is mostly Airflow's: each run is some nine processes that this machine's cores start one by "
        "one, at most 16 runs at a time; and a task whose supervisor was killed keeps its slots of the pool until "
        "Airflow misses it, after 120 s.",
    ]
    return "\n".join(lines)
