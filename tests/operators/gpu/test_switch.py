"""What a person changes by hand: refused in words, or in force and signed."""

import pytest
from sqlalchemy import Engine

from operators.errors import ChoiceInvalid
from operators.gpu import switch
from operators.gpu.breaker import BreakerState
from operators.gpu.breaker_store import breaker_changes, breakers
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.routing_store import routing, routing_changes
from operators.gpu.switch import DeviceAction, route_stage, switch_device
from operators.routing import DevicePolicy
from stage_contract.vocabulary import Stage

ENVIRON = {
    "NIGHTREEL_GPU_DEVICES": "GPU-1,GPU-2",
    "NIGHTREEL_GPU_VRAM_MIB": "4096,4096",
    "NIGHTREEL_GPU_NEEDS": "audio.transcribe=4608,vision.analyze=2304",
}
GPUS = GpuConfiguration.from_environment(ENVIRON)
NO_GPU = GpuConfiguration.from_environment({})


@pytest.fixture
def environment(media_database: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NIGHTREEL_DATABASE_URL", media_database.url.render_as_string(hide_password=False))
    return media_database


def test_a_gpu_is_taken_out_of_service_and_put_back(media_database: Engine) -> None:
    told = switch_device(media_database, GPUS, "GPU-1", DeviceAction.OPEN, "ann", "the fan is broken")
    assert "GPU-1 is out of service" in told
    assert breakers(media_database)["GPU-1"].is_by_hand
    switch_device(media_database, GPUS, "GPU-1", DeviceAction.CLOSE, "bob", "new fan")
    assert breakers(media_database)["GPU-1"].state is BreakerState.CLOSED
    assert [(change.changed_by, change.reason) for change in breaker_changes(media_database)] == [
        ("bob", "new fan"),
        ("ann", "the fan is broken"),
    ]


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(media_database: Engine) -> None:
    with pytest.raises(ChoiceInvalid, match="must be one of GPU-1, GPU-2: GPU-3 is none"):
        switch_device(media_database, GPUS, "GPU-3", DeviceAction.CLOSE, "ann", "why not")
    with pytest.raises(ChoiceInvalid, match="NIGHTREEL_GPU_DEVICES"):
        switch_device(media_database, NO_GPU, "GPU-1", DeviceAction.OPEN, "ann", "why not")
    assert breaker_changes(media_database) == []


def test_a_stage_goes_elsewhere_and_the_change_is_signed(media_database: Engine) -> None:
    told = route_stage(media_database, GPUS, Stage.ANALYZE, DevicePolicy.GPU, "ann", "moving to GPUs")
    assert "vision.analyze" in told
    assert "it was auto" in told
    assert routing(media_database)[Stage.ANALYZE] is DevicePolicy.GPU
    (change,) = routing_changes(media_database)
    assert (change.changed_by, change.reason) == ("ann", "moving to GPUs")


@pytest.mark.parametrize(
    ("configuration", "stage", "said"),
    [
        (NO_GPU, Stage.ANALYZE, "none is configured for vision.analyze; name one in NIGHTREEL_GPU_DEVICES"),
        (GPUS, Stage.TRANSCRIBE, "audio.transcribe must fit a device: it needs 4608 MiB, the largest has 3584"),
        (GPUS, Stage.PROBE, "media.probe has none"),
    ],
)
def test_a_gpu_that_can_never_be_had_is_refused(
    media_database: Engine, configuration: GpuConfiguration, stage: Stage, said: str
) -> None:
    with pytest.raises(ChoiceInvalid, match=said):
        route_stage(media_database, configuration, stage, DevicePolicy.GPU, "ann", "moving")
    assert routing_changes(media_database) == []


@pytest.mark.parametrize("policy", [DevicePolicy.AUTO, DevicePolicy.CPU])
def test_the_cpu_may_always_be_chosen(media_database: Engine, policy: DevicePolicy) -> None:
    route_stage(media_database, NO_GPU, Stage.TRANSCRIBE, policy, "ann", "no GPU yet")
    assert routing(media_database)[Stage.TRANSCRIBE] is policy


def test_the_command_signs_with_who_gave_it(environment: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert switch.main(["--open=GPU-2", "--why=fan broken", "--who=make:ann"]) == 0
    assert "GPU-2 is out of service" in capsys.readouterr().out
    assert breaker_changes(environment)[0].changed_by == "make:ann"
    assert switch.main(["--route=vision.analyze=cpu", "--why=- a dash first", "--who=make:ann"]) == 0
    assert routing_changes(environment)[0].reason == "- a dash first"


def test_the_command_refuses_in_one_line(environment: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert switch.main(["--close=GPU-9", "--why=x", "--who=ann"]) == 1
    assert capsys.readouterr().err.startswith("a GPU that is switched must be one of")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--why=x"],
        ["--open=GPU-1"],
        ["--open=GPU-1", "--close=GPU-1", "--why=x"],
        ["--route=nlp.enrich=gpu", "--why=x"],
        ["--route=vision.analyze=cuda", "--why=x"],
        ["--route=vision.analyze", "--why=x"],
    ],
)
def test_a_command_that_is_not_understood_changes_nothing(environment: Engine, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        switch.main(arguments)
    assert breaker_changes(environment) == []
    assert routing_changes(environment) == []
