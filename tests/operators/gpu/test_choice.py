"""GPU or CPU, and the words for it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.gpu.breaker import Breaker, begin_trial, fail, open_by_hand, pass_time
from operators.gpu.choice import INSISTENCE, Branch, BranchDecision, BranchQuestion, choose_branch
from operators.gpu.standing import WORKING, foreign_mib
from operators.routing import DevicePolicy
from stage_contract.gpu_health import GpuProcess, HealthCode, HealthVerdict, HostHealth
from stage_contract.vocabulary import Stage
from tests.operators.gpu.samples import (
    LARGE,
    NOW,
    OTHER,
    SMALL,
    configuration,
    device,
    healthy,
    host,
    lease,
    sick_host,
)

PATIENCE_S = 60.0
ONE = configuration(8192)


def ask(health: HostHealth | None = None, **changed: object) -> BranchDecision:
    question = BranchQuestion(
        stage=Stage.TRANSCRIBE,
        need_mib=4608,
        run_policy=DevicePolicy.AUTO,
        routed=DevicePolicy.AUTO,
        configuration=ONE,
        health=health or healthy(ONE),
        breakers={},
        leases={},
        waited_s=0.0,
        now=NOW,
    )
    return choose_branch(replace(question, **changed))  # type: ignore[arg-type]


def opened(wait_s: float = 120.0) -> Breaker:
    return fail(Breaker(SMALL), NOW, "the driver reported Xid 79", wait_s)


def test_a_healthy_gpu_is_taken_at_once() -> None:
    decision = ask()

    assert decision.branch is Branch.GPU
    assert decision.reason == (
        "audio.transcribe runs on a GPU, where 4608 MiB are needed: GPU-1 (RTX 4060) is healthy and has 7680 MiB for "
        "stages"
    )
    assert [standing.is_usable for standing in decision.devices] == [True]


def test_a_degraded_gpu_is_taken_and_the_reason_says_so() -> None:
    decision = ask(host(device(SMALL, HealthCode.THERMAL_SLOWDOWN, verdict=HealthVerdict.DEGRADED)))

    assert decision.branch is Branch.GPU
    assert "is degraded (thermal_slowdown was found; mend it)" in decision.reason


def test_a_healthy_gpu_goes_before_a_degraded_one_in_the_reason() -> None:
    two = configuration(8192, 8192)
    hot = device(SMALL, HealthCode.THERMAL_SLOWDOWN, verdict=HealthVerdict.DEGRADED)

    assert "GPU-2 (RTX 4060) is healthy" in ask(host(hot, device(OTHER)), configuration=two).reason


@pytest.mark.parametrize(
    ("run", "routed", "branch", "words"),
    [
        (DevicePolicy.CPU, DevicePolicy.GPU, Branch.CPU, "this run was asked for with device cpu"),
        (DevicePolicy.AUTO, DevicePolicy.CPU, Branch.CPU, "it is routed there"),
        (DevicePolicy.GPU, DevicePolicy.CPU, Branch.GPU, "is healthy"),
        (DevicePolicy.AUTO, DevicePolicy.GPU, Branch.GPU, "is healthy"),
    ],
)
def test_the_run_decides_before_the_routing(
    run: DevicePolicy, routed: DevicePolicy, branch: Branch, words: str
) -> None:
    decision = ask(run_policy=run, routed=routed)

    assert decision.branch is branch
    assert words in decision.reason


@pytest.mark.parametrize("policy", list(DevicePolicy))
def test_without_a_gpu_nothing_waits(policy: DevicePolicy) -> None:
    decision = ask(host(), configuration=configuration(), run_policy=policy)

    assert decision.branch is Branch.CPU
    assert policy is DevicePolicy.CPU or "no GPU is configured" in decision.reason


@pytest.mark.parametrize(
    "code", [HealthCode.UNREACHABLE, HealthCode.NVML_HANGS, HealthCode.NONSENSE, HealthCode.NVML_ERROR]
)
def test_where_nothing_is_known_it_is_waited_as_long_as_patience_goes(code: HealthCode) -> None:
    assert ask(sick_host(code)).branch is Branch.WAIT
    assert ask(sick_host(code), waited_s=PATIENCE_S - 0.1).branch is Branch.WAIT
    late = ask(sick_host(code), waited_s=PATIENCE_S)
    assert late.branch is Branch.CPU
    assert (
        late.reason
        == f"audio.transcribe runs on the CPU after waiting 60 s for a GPU: GPU-1 is unknown: {code} was found; mend it"
    )


@pytest.mark.parametrize(
    "health",
    [
        sick_host(HealthCode.DRIVER_MISMATCH, HealthVerdict.UNHEALTHY),
        sick_host(HealthCode.DRIVER_NOT_LOADED, HealthVerdict.UNHEALTHY),
        host(device(SMALL, HealthCode.GPU_LOST, verdict=HealthVerdict.UNHEALTHY)),
        host(device(SMALL, HealthCode.FATAL_XID, verdict=HealthVerdict.UNHEALTHY)),
        host(device("GPU-elsewhere")),
    ],
    ids=["mismatch", "not loaded", "lost", "fatal Xid", "not on this host"],
)
def test_what_waiting_does_not_mend_goes_to_the_cpu_at_once(health: HostHealth) -> None:
    decision = ask(health)

    assert decision.branch is Branch.CPU
    assert decision.reason.startswith("audio.transcribe runs on the CPU: GPU-1")
    assert "is unhealthy: " in decision.reason


def test_a_driver_that_does_not_fit_counts_whatever_is_said_of_the_device() -> None:
    fault = sick_host(HealthCode.DRIVER_MISMATCH, HealthVerdict.UNHEALTHY)

    assert ask(fault.model_copy(update={"devices": (device(),)})).branch is Branch.CPU


def test_a_driver_that_works_with_another_version_is_a_warning() -> None:
    two = configuration(8192, 8192)
    warned = sick_host(HealthCode.DRIVER_MISMATCH, HealthVerdict.DEGRADED)
    assert ask(warned.model_copy(update={"devices": (device(),)})).branch is Branch.GPU

    # The host's verdict is its worst device's then.
    lost = device(OTHER, HealthCode.GPU_LOST, verdict=HealthVerdict.UNHEALTHY)
    ill = sick_host(HealthCode.DRIVER_MISMATCH, HealthVerdict.UNHEALTHY)
    beside = ask(ill.model_copy(update={"devices": (device(), lost)}), configuration=two)
    assert beside.branch is Branch.GPU
    assert [standing.is_usable for standing in beside.devices] == [True, False]


def test_a_sick_neighbour_does_not_keep_work_off_a_healthy_gpu() -> None:
    two = configuration(8192, 8192)
    hanging = device(SMALL, HealthCode.NVML_HANGS, verdict=HealthVerdict.UNKNOWN)
    stuck = sick_host(HealthCode.NVML_HANGS).model_copy(update={"devices": (hanging, device(OTHER))})

    assert ask(stuck, configuration=two).branch is Branch.GPU


def test_a_breaker_is_waited_for_only_if_it_half_opens_within_patience() -> None:
    assert ask(breakers={SMALL: opened(50)}).branch is Branch.WAIT
    assert ask(breakers={SMALL: opened(50)}, waited_s=20).branch is Branch.CPU
    decision = ask(breakers={SMALL: opened(120)})
    assert decision.branch is Branch.CPU
    assert "failed (the driver reported Xid 79) and is out of service until 2026-11-21 02:02:00 UTC" in decision.reason


def test_a_breaker_opened_by_hand_is_not_waited_for() -> None:
    decision = ask(breakers={SMALL: open_by_hand(Breaker(SMALL), NOW, "anna", "the fan is broken")})

    assert decision.branch is Branch.CPU
    assert "was taken out of service by anna (the fan is broken); close its breaker" in decision.reason


def test_a_half_open_breaker_lets_a_trial_in_and_the_next_one_waits() -> None:
    half_open = pass_time(opened(), NOW + timedelta(seconds=120))

    first = ask(breakers={SMALL: half_open})
    assert first.branch is Branch.GPU
    assert "this is a trial" in first.reason
    assert ask(breakers={SMALL: begin_trial(half_open, NOW, 7)}).branch is Branch.WAIT


def test_other_processes_are_waited_for_and_our_own_leases_are_not_counted() -> None:
    taken = host(device(used_mib=6000))
    assert ask(taken).branch is Branch.WAIT
    late = ask(taken, waited_s=PATIENCE_S)
    assert late.branch is Branch.CPU
    assert "has 2192 of 7680 MiB left, where 4608 are needed: other processes take 6000, " in late.reason

    ours = host(device(used_mib=6000, processes=(GpuProcess(pid=1, used_mib=5700, container_id="c1"),)))
    assert ask(ours, leases={SMALL: [lease(leased_mib=7680)]}).branch is Branch.GPU


def test_what_never_fits_goes_to_the_cpu_at_once() -> None:
    decision = ask(need_mib=9216)

    assert decision.branch is Branch.CPU
    assert "has 7680 MiB for stages, too few for 9216; build the image with a smaller model" in decision.reason


def test_insisting_on_the_gpu_waits_ten_times_as_long_and_then_does_not_fail() -> None:
    lost = host(device(SMALL, HealthCode.GPU_LOST, verdict=HealthVerdict.UNHEALTHY))

    for waited_s in (0.0, PATIENCE_S, PATIENCE_S * INSISTENCE - 1):
        assert ask(lost, run_policy=DevicePolicy.GPU, waited_s=waited_s).branch is Branch.WAIT
    assert ask(lost, run_policy=DevicePolicy.GPU, waited_s=PATIENCE_S * INSISTENCE).branch is Branch.CPU


def test_devices_with_the_same_trouble_are_named_together() -> None:
    three = configuration(8192, 8192, 24576)
    decision = ask(sick_host(HealthCode.UNREACHABLE), configuration=three, waited_s=61)

    assert decision.reason.endswith("each of GPU-1, GPU-2, GPU-3 is unknown: unreachable was found; mend it")


def test_foreign_use_is_what_no_leased_container_takes() -> None:
    own, other = (GpuProcess(pid=n, used_mib=1000 * n, container_id=f"c{n}") for n in (1, 2))
    outside = GpuProcess(pid=3, used_mib=500)
    seen = device(used_mib=4000, processes=(own, other, outside))

    assert foreign_mib(seen, [lease(container_id="c1")]) == 3000
    assert foreign_mib(seen, [lease(container_id=None)]) == 4000
    assert foreign_mib(seen, [lease(container_id="c1"), lease(container_id="c2")]) == 1000


def test_where_the_driver_does_not_tell_leases_count_as_drawn() -> None:
    mute = (GpuProcess(pid=1, used_mib=None, container_id="c1"),)

    assert foreign_mib(device(used_mib=5000, processes=mute), [lease(leased_mib=4608)]) == 392
    assert foreign_mib(device(used_mib=3000, processes=mute), [lease(leased_mib=4608)]) == 0
    assert foreign_mib(device(used_mib=None), []) == 0


DEVICES = st.builds(
    lambda uuid, verdict, codes, used, total: device(uuid, *codes, verdict=verdict, used_mib=used, total_mib=total),
    st.sampled_from([SMALL, OTHER, LARGE, "GPU-9"]),
    st.sampled_from(HealthVerdict),
    st.lists(st.sampled_from(HealthCode), max_size=2),
    st.none() | st.integers(0, 30_000),
    st.none() | st.integers(0, 30_000),
)
HOSTS = st.builds(
    lambda verdict, codes, devices: sick_host(HealthCode.NONSENSE).model_copy(
        update={
            "verdict": verdict,
            "reasons": tuple(reason for code in codes for reason in sick_host(code).reasons),
            "devices": tuple(devices),
        }
    ),
    st.sampled_from(HealthVerdict),
    st.lists(st.sampled_from(HealthCode), max_size=2),
    st.lists(DEVICES, max_size=4, unique_by=lambda found: found.device_uuid),
)
BREAKERS = st.dictionaries(
    st.sampled_from([SMALL, OTHER, LARGE]),
    st.sampled_from(
        [
            opened(30),
            opened(500),
            pass_time(opened(1), NOW + timedelta(seconds=1)),
            begin_trial(pass_time(opened(1), NOW + timedelta(seconds=1)), NOW, 3),
            open_by_hand(Breaker(SMALL), NOW, "anna", "why"),
        ]
    ),
)
QUESTIONS = st.builds(
    BranchQuestion,
    stage=st.sampled_from(Stage),
    need_mib=st.integers(0, 30_000),
    run_policy=st.sampled_from(DevicePolicy),
    routed=st.sampled_from(DevicePolicy),
    configuration=st.sampled_from([configuration(), ONE, configuration(8192, 8192, 24576, budget_mib=1024)]),
    health=HOSTS,
    breakers=BREAKERS,
    leases=st.sampled_from([{}, {SMALL: [lease()]}]),
    waited_s=st.floats(0, 2000),
    now=st.just(NOW),
)


@given(QUESTIONS)
def test_no_question_leads_astray(question: BranchQuestion) -> None:
    decision = choose_branch(question)

    assert decision.reason.startswith(f"{question.stage} ")
    if question.policy is DevicePolicy.CPU or not question.configuration.devices:
        assert decision.branch is Branch.CPU
    if decision.branch is Branch.WAIT:
        assert question.waited_s < question.patience_s
        assert not any(standing.is_usable for standing in decision.devices)
    if decision.branch is Branch.GPU:
        assert any(_is_sound(question, standing.device_uuid) for standing in decision.devices)


def _is_sound(question: BranchQuestion, uuid: str) -> bool:
    """Usable by the letter of the rules, found without the code under test."""
    configured = next(found for found in question.configuration.devices if found.uuid == uuid)
    seen = next((found for found in question.health.devices if found.device_uuid == uuid), None)
    breaker = question.breakers.get(uuid, Breaker(uuid))
    if seen is None or seen.verdict not in WORKING or not breaker.takes_work:
        return False
    total = configured.vram_mib if seen.total_mib is None else seen.total_mib
    return question.need_mib <= min(configured.capacity_mib, max(0, total - (seen.used_mib or 0)))


@given(QUESTIONS, st.floats(0, 100))
def test_more_patience_spent_never_turns_the_cpu_into_waiting(question: BranchQuestion, more_s: float) -> None:
    if choose_branch(question).branch is Branch.CPU:
        assert choose_branch(replace(question, waited_s=question.waited_s + more_s)).branch is Branch.CPU
