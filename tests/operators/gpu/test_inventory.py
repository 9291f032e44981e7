"""What the GPUs have, what stages take of them, and the settings that follow."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sqlalchemy import Engine

from operators.errors import SettingMissing
from operators.gpu import inventory as command
from operators.gpu.breaker_store import fail, open_by_hand
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.inventory_report import WIDTH, render
from operators.gpu.lease import Grant, LeaseRequest, ask, release, renew, try_grant
from operators.gpu.needs import NeedSource
from operators.gpu.routing_store import set_routing
from operators.gpu.sharing import (
    Inventory,
    find_sizes,
    fit_warnings,
    health_warning,
    settings_of,
    take_inventory,
    vram_sizes,
)
from operators.routing import DevicePolicy
from stage_contract.gpu_health import DeviceHealth, HealthCode, HealthReason, HealthVerdict, HostHealth
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage

SMALL, LARGE = "GPU-11111111-aaaa-bbbb-cccc-000000000001", "GPU-22222222-aaaa-bbbb-cccc-000000000002"
ENVIRON = {
    "NIGHTREEL_GPU_DEVICES": f"{SMALL},{LARGE}",
    "NIGHTREEL_GPU_VRAM_MIB": "8192,24576",
    "NIGHTREEL_GPU_BUDGET_MIB": "2048",
    "NIGHTREEL_GPU_AGENT_URL": "http://127.0.0.1:9",
}


def label(role: str, name: str) -> str:
    return json.dumps([{"role": role, "name": name, "revision": "1", "sha256": "0", "licence": "MIT"}])


MODELS = {"nightreel/audio:cuda": label("whisper", "whisper-large-v3"), "nightreel/vision:cuda": label("x", "huge-net")}


def configuration(**environ: str) -> GpuConfiguration:
    return GpuConfiguration.from_environment({**ENVIRON, **environ})


def health(
    sizes: Mapping[str, int | None], verdict: HealthVerdict = HealthVerdict.HEALTHY, *reasons: HealthReason
) -> HostHealth:
    devices = tuple(
        DeviceHealth(device_uuid=uuid, name="NVIDIA L4", verdict=verdict, reasons=reasons, total_mib=size, used_mib=10)
        for uuid, size in sizes.items()
    )
    return HostHealth(observed_at=datetime.now(UTC), verdict=verdict, devices=devices)


WELL = health({SMALL: 8192, LARGE: 24576})
UNREACHABLE = HostHealth(
    observed_at=datetime.now(UTC),
    verdict=HealthVerdict.UNKNOWN,
    reasons=(HealthReason(code=HealthCode.UNREACHABLE, message="nothing listens"),),
)


def words(inventory: Inventory) -> str:
    console = Console(width=WIDTH, file=StringIO(), highlight=False, emoji=False, markup=False)
    console.print(render(inventory))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def lease(database: Engine, stage: Stage = Stage.TRANSCRIBE, need_mib: int = 4608, task_id: str = "audio") -> Grant:
    task = TaskKey(dag_id="process_media", run_id="run-7", task_id=task_id, map_index=-1, try_number=1)
    request = LeaseRequest(task, stage, ("whisper-large-v3",), "float16", 1, need_mib, 1, f"container-{task_id}")
    granted = try_grant(database, ask(database, request), configuration(), WELL)
    assert isinstance(granted, Grant)
    return granted


def test_the_settings_follow_from_sizes_budget_and_needs(media_database: Engine) -> None:
    found = settings_of(take_inventory(media_database, configuration(), WELL, MODELS))
    assert found == {
        "NIGHTREEL_GPU_VRAM_MIB": "8192,24576",
        # (8192 - 512) // 2048 + (24576 - 512) // 2048
        "NIGHTREEL_GPU_SLOTS": "14",
        # Four windows at a time: one takes 4608 MiB, which are three slots, and these hold four. A model that nobody
        # measured takes the whole smallest GPU.
        "NIGHTREEL_GPU_NEEDS": "audio.transcribe=5376,vision.analyze=7680",
    }
    assert GpuConfiguration.from_environment({**ENVIRON, **found}).needs == {
        Stage.TRANSCRIBE: 5376,
        Stage.ANALYZE: 7680,
    }


def test_with_one_budget_per_card_there_is_one_slot_per_card(media_database: Engine) -> None:
    whole = take_inventory(media_database, configuration(NIGHTREEL_GPU_BUDGET_MIB="0"), WELL, MODELS)
    assert settings_of(whole)["NIGHTREEL_GPU_SLOTS"] == "2"
    assert {line.pool_slots for line in whole.stages} == {1}


def test_what_leases_were_seen_to_take_goes_before_the_table(media_database: Engine) -> None:
    for number in range(3):
        granted = lease(media_database, task_id=f"audio-{number}")
        renew(media_database, granted.lease_id, "c" * 64, 3000 + number)
        release(media_database, granted.lease_id)
    inventory = take_inventory(media_database, configuration(NIGHTREEL_GPU_NEEDS="audio.transcribe=4608"), WELL, MODELS)
    audio = inventory.stages[0]
    assert (audio.need.source, audio.need.measurements, audio.need.mib) == (NeedSource.MEASURED, 3, 3328)
    assert audio.pool_slots == 2
    assert "measured, 3 runs" in words(inventory)
    assert "`make up` reckons the slots anew" in words(inventory)


def test_a_stage_that_fits_nowhere_is_told_with_the_remedy(media_database: Engine) -> None:
    tiny = configuration(NIGHTREEL_GPU_VRAM_MIB="4096,4096", NIGHTREEL_GPU_BUDGET_MIB="0")
    inventory = take_inventory(media_database, tiny, WELL, MODELS)
    (warning,) = fit_warnings(inventory)
    assert "audio.transcribe must fit a device: it needs 4608 MiB, the largest has 3584" in warning
    assert "smaller model" in warning
    told = words(inventory)
    assert "no GPU" in told
    assert "must fit a device" in told


def test_a_stage_without_an_image_for_gpus_is_told_so(media_database: Engine) -> None:
    inventory = take_inventory(media_database, configuration(), WELL, {})
    assert [line.key for line in inventory.stages] == [None, None]
    assert "not built" in words(inventory)


def test_the_report_names_each_gpu_its_health_its_breaker_and_who_holds_what(media_database: Engine) -> None:
    granted = lease(media_database)
    other = LARGE if granted.device_uuid == SMALL else SMALL
    open_by_hand(media_database, other, "make:ann", "the fan is broken")
    set_routing(media_database, Stage.ANALYZE, DevicePolicy.CPU, "ann", "moving")
    told = words(take_inventory(media_database, configuration(), WELL, MODELS))
    assert "2 GPUs, pool gpu has 14 slots of 2048 MiB" in told
    assert "8192 MiB, 512 in reserve, 7680 for stages in 3 slots" in told
    assert "4608 MiB by audio.transcribe of process_media run-7" in told
    assert "open until it is closed by hand; make:ann: the fan is broken" in told
    assert "healthy" in told
    assert "NVIDIA L4" in told
    assert any("vision.analyze" in line and "cpu" in line for line in told.splitlines())


def test_words_of_a_driver_cannot_change_the_terminal(media_database: Engine) -> None:
    reason = HealthReason(code=HealthCode.GPU_LOST, message="lost\x1b[31m\nreset the GPU")
    sick = health({SMALL: 8192, LARGE: 24576}, HealthVerdict.UNHEALTHY, reason)
    told = words(take_inventory(media_database, configuration(), sick, MODELS))
    assert "\x1b" not in told
    assert "reset the GPU" in told


def test_without_a_gpu_the_report_says_how_to_get_one(media_database: Engine) -> None:
    inventory = take_inventory(media_database, GpuConfiguration.from_environment({}), UNREACHABLE, {})
    assert "NIGHTREEL_GPU_DEVICES" in words(inventory)
    assert fit_warnings(inventory) == []


def test_an_agent_that_does_not_answer_is_one_warning(media_database: Engine) -> None:
    assert health_warning(take_inventory(media_database, configuration(), WELL, MODELS)) is None
    warning = health_warning(take_inventory(media_database, configuration(), UNREACHABLE, MODELS))
    assert warning
    assert warning.count("nothing listens") == 1
    assert SMALL in warning
    assert LARGE in warning


def test_a_breaker_that_is_open_is_a_warning(media_database: Engine) -> None:
    fail(media_database, SMALL, "Xid 79", None, 120.0)
    warning = health_warning(take_inventory(media_database, configuration(), WELL, MODELS))
    assert warning
    assert "Xid 79" in warning
    assert LARGE not in warning


def test_sizes_are_those_that_the_agent_tells_else_the_recorded_ones() -> None:
    assert vram_sizes(WELL, {**ENVIRON, "NIGHTREEL_GPU_VRAM_MIB": ""}) == "8192,24576"
    assert vram_sizes(health({LARGE: 24000}), ENVIRON) == "8192,24000"
    assert vram_sizes(health({SMALL: None}), ENVIRON) == "8192,24576"
    assert vram_sizes(UNREACHABLE, ENVIRON) == "8192,24576"


def test_sizes_recorded_for_other_gpus_are_not_taken() -> None:
    assert vram_sizes(UNREACHABLE, {**ENVIRON, "NIGHTREEL_GPU_VRAM_MIB": "8192"}) is None
    assert vram_sizes(health({SMALL: 8192}), {**ENVIRON, "NIGHTREEL_GPU_VRAM_MIB": ""}) is None


def test_a_size_that_nobody_knows_is_asked_for_by_name() -> None:
    with pytest.raises(SettingMissing, match=r"NIGHTREEL_GPU_VRAM_MIB must give(.|\n)*nothing listens(.|\n)*by hand"):
        find_sizes({**ENVIRON, "NIGHTREEL_GPU_VRAM_MIB": ""}, lambda: UNREACHABLE, patience_s=0.0)


def test_an_agent_that_was_just_started_is_waited_for() -> None:
    answers = iter([UNREACHABLE, WELL])
    sizes, heard = find_sizes({**ENVIRON, "NIGHTREEL_GPU_VRAM_MIB": ""}, lambda: next(answers), patience_s=5.0)
    assert sizes == "8192,24576"
    assert heard is WELL


def test_the_command_prints_the_settings_for_make_up(
    media_database: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NIGHTREEL_DATABASE_URL", media_database.url.render_as_string(hide_password=False))
    assert command.main(["--json", "--models", json.dumps(MODELS)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["NIGHTREEL_GPU_SLOTS"] == "14"
    assert "127.0.0.1:9" in found["health"]
    assert found["warnings"] == []
    assert command.main(["--models", json.dumps(MODELS)]) == 0
    assert SMALL in capsys.readouterr().out


def test_the_command_says_what_is_wrong_with_the_settings(
    media_database: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**ENVIRON, "NIGHTREEL_GPU_BUDGET_MIB": "9000"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NIGHTREEL_DATABASE_URL", media_database.url.render_as_string(hide_password=False))
    assert command.main(["--json"]) == 1
    assert "NIGHTREEL_GPU_BUDGET_MIB must fit every device" in capsys.readouterr().err


@given(
    sizes=st.lists(st.integers(1024, 100_000), min_size=1, max_size=6),
    told=st.lists(st.booleans(), min_size=6, max_size=6),
    budget_mib=st.sampled_from([0, 512]),
)
def test_what_is_reckoned_is_understood_when_it_is_read_back(
    sizes: list[int], told: list[bool], budget_mib: int
) -> None:
    uuids = [f"GPU-{number}" for number in range(len(sizes))]
    environ = {
        "NIGHTREEL_GPU_DEVICES": ",".join(uuids),
        "NIGHTREEL_GPU_VRAM_MIB": ",".join(map(str, sizes)),
        "NIGHTREEL_GPU_BUDGET_MIB": str(budget_mib),
    }
    heard = health({uuid: size for uuid, size, is_told in zip(uuids, sizes, told, strict=False) if is_told})
    found = vram_sizes(heard, environ)
    assert found == environ["NIGHTREEL_GPU_VRAM_MIB"]
    read = GpuConfiguration.from_environment({**environ, "NIGHTREEL_GPU_VRAM_MIB": found})
    assert [device.vram_mib for device in read.devices] == sizes
