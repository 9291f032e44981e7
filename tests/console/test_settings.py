"""`.env`: made once, never overwritten, checked with words that say what to change."""

import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.settings import (
    DATABASE_PASSWORDS,
    ENTRIES,
    Machine,
    Settings,
    complete,
    configured_gpus,
    database_without_passwords,
    load_settings,
    parse,
    reckoned_file,
    record,
)
from console.terminal import ConsoleError
from images.airflow.initialize import pools


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def first_settings(env_file: Path, environment: dict[str, str]) -> Settings:
    """As `make up` does it: what is missing is written, then all is read."""
    complete(env_file)
    return load_settings(env_file, environment)


def test_reading_settings_makes_no_file_and_names_the_remedy(env_file: Path) -> None:
    with pytest.raises(ConsoleError, match="run `make up`"):
        load_settings(env_file, environment={})
    assert not env_file.exists()
    env_file.write_text("AIRFLOW_PORT=9090\n")
    with pytest.raises(ConsoleError, match=r"MEDIA_DB_PASSWORD.* missing; run `make up`"):
        load_settings(env_file, environment={})
    assert env_file.read_text() == "AIRFLOW_PORT=9090\n"


@pytest.mark.parametrize("lost", DATABASE_PASSWORDS)
def test_a_database_password_that_is_lost_is_noticed_before_another_is_made(env_file: Path, lost: str) -> None:
    assert database_without_passwords(env_file, {}) == "nightreel"
    complete(env_file)
    assert database_without_passwords(env_file, {}) is None
    lines = [line for line in env_file.read_text().splitlines() if not line.startswith(lost)]
    env_file.write_text("\n".join(lines).replace("COMPOSE_PROJECT_NAME=nightreel", "COMPOSE_PROJECT_NAME=mine"))
    assert database_without_passwords(env_file, {}) == "mine"
    assert database_without_passwords(env_file, {lost: "given"}) is None


def test_the_first_start_writes_every_setting_for_its_owner_only(env_file: Path) -> None:
    settings = first_settings(env_file, environment={})
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert set(parse(env_file.read_text())) == {entry.name for entry in ENTRIES}
    assert settings.airflow_url == "http://127.0.0.1:8080"
    assert settings.inbox == settings.data / "inbox"


def test_two_deployments_share_no_secret(tmp_path: Path) -> None:
    first, second = (first_settings(tmp_path / name, environment={}) for name in ("a", "b"))
    secrets = [name for name in first.values if re.search("PASSWORD|KEY|SECRET", name)]
    assert len(secrets) == 10
    assert all(first.values[name] != second.values[name] for name in secrets)
    assert len({first.values[name] for name in secrets}) == len(secrets)


def test_values_that_are_there_stay_and_only_missing_ones_are_added(env_file: Path) -> None:
    env_file.write_text("# mine\nAIRFLOW_PORT=9090\nMEDIA_DB_PASSWORD='kept'  # by hand\nOTHER=1\n")
    settings = first_settings(env_file, environment={})
    text = env_file.read_text()
    assert settings.airflow_port == 9090
    assert settings.values["MEDIA_DB_PASSWORD"] == "kept"
    assert text.startswith("# mine\nAIRFLOW_PORT=9090\nMEDIA_DB_PASSWORD='kept'  # by hand\nOTHER=1\n")
    assert text.count("AIRFLOW_PORT=") == 1
    first_settings(env_file, environment={})
    assert env_file.read_text() == text


def test_a_variable_of_the_environment_goes_before_the_file_and_is_not_written(env_file: Path) -> None:
    settings = first_settings(env_file, environment={"AIRFLOW_PORT": "9191"})
    assert settings.airflow_port == 9191
    assert "9191" not in env_file.read_text()


def test_what_is_found_on_the_machine_replaces_its_line_and_nothing_else(env_file: Path) -> None:
    first_settings(env_file, environment={})
    before = env_file.read_text()
    record(env_file, {"NIGHTREEL_DOCKER_GID": "4711"})
    assert env_file.read_text() == before.replace("NIGHTREEL_DOCKER_GID=0", "NIGHTREEL_DOCKER_GID=4711")
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600


def test_what_is_reckoned_for_a_deployment_of_the_environment_touches_no_other(env_file: Path) -> None:
    first_settings(env_file, environment={})
    before = env_file.read_text()
    of_a_test = {"COMPOSE_PROJECT_NAME": "nightreel-test"}
    record(reckoned_file(env_file, of_a_test), {"NIGHTREEL_GPU_SLOTS": "5"})
    record(reckoned_file(env_file, of_a_test), {"NIGHTREEL_GPU_SLOTS": "7", "NIGHTREEL_PARALLELISM": "17"})
    assert env_file.read_text() == before
    settings = load_settings(env_file, of_a_test)
    assert (settings.values["NIGHTREEL_GPU_SLOTS"], settings.values["NIGHTREEL_PARALLELISM"]) == ("7", "17")
    assert load_settings(env_file, {}).values["NIGHTREEL_GPU_SLOTS"] == "0"
    assert reckoned_file(env_file, {"COMPOSE_PROJECT_NAME": "nightreel"}) == env_file


def test_compose_files_of_the_environment_go_before_the_recorded_ones(env_file: Path) -> None:
    mine = "docker-compose.yaml:compose.gpu.yaml:mine.yaml"
    assert first_settings(env_file, {"COMPOSE_FILE": mine}).values["COMPOSE_FILE"] == mine


def test_gpus_are_known_before_all_settings_are_there(env_file: Path) -> None:
    assert configured_gpus(env_file, {}) == ()
    env_file.write_text("NIGHTREEL_GPU_DEVICES=GPU-1a,MIG-2b\n")
    assert configured_gpus(env_file, {}) == ("GPU-1a", "MIG-2b")
    assert configured_gpus(env_file, {"NIGHTREEL_GPU_DEVICES": ""}) == ()


def test_ports_are_those_of_the_services_that_are_started(env_file: Path) -> None:
    assert set(first_settings(env_file, {}).ports) == {"AIRFLOW_PORT", "POSTGRES_PORT"}
    assert load_settings(env_file, {"NIGHTREEL_GPU_DEVICES": "GPU-1a"}).ports["NIGHTREEL_GPU_AGENT_PORT"] == 9410


@pytest.mark.parametrize(
    "devices",
    [
        "GPU-6f0a1f3e-1b2c-3d4e-5f60-718293a4b5c6",
        "GPU-6f0a1f3e-1b2c-3d4e-5f60-718293a4b5c6,MIG-1b2c3d4e-aaaa-bbbb-cccc-0123456789ab",
    ],
)
def test_every_form_of_nvidias_uuids_is_taken(env_file: Path, devices: str) -> None:
    settings = first_settings(env_file, {"NIGHTREEL_GPU_DEVICES": devices})
    assert settings.gpu_devices == tuple(devices.split(","))


def test_the_old_name_of_a_slice_is_refused_with_the_driver_that_has_the_new_one(env_file: Path) -> None:
    old = "MIG-GPU-6f0a1f3e-1b2c-3d4e-5f60-718293a4b5c6/1/0"
    with pytest.raises(ConsoleError, match=rf"{old} is what drivers before 470 call a slice; .*MIG-<uuid>.*\.env"):
        first_settings(env_file, {"NIGHTREEL_GPU_DEVICES": old})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NIGHTREEL_GPU_DEVICES", "0,1"),
        ("NIGHTREEL_GPU_DEVICES", "GPU-1a, GPU-2b"),
        ("NIGHTREEL_GPU_DEVICES", "GPU-1a,GPU-1a"),
        ("NIGHTREEL_GPU_DEVICES", "GPU-1a,"),
        ("NIGHTREEL_GPU_VRAM_MIB", "8192,8G"),
        ("NIGHTREEL_GPU_RESERVE_MIB", "-1"),
        ("NIGHTREEL_GPU_BUDGET_MIB", "4G"),
        ("NIGHTREEL_GPU_NEEDS", "audio.transcribe"),
        ("NIGHTREEL_GPU_AGENT_URL", "gpu-agent:9410"),
        ("NIGHTREEL_GPU_AGENT_PORT", "0"),
        ("NIGHTREEL_GPU_PATIENCE_S", "0"),
        ("NIGHTREEL_GPU_BREAKER_WAIT_S", "soon"),
        ("NIGHTREEL_TIME_ZONE", "Europe/Atlantis"),
        ("NIGHTREEL_NIGHT_HOURS", "22-06"),
        ("NIGHTREEL_NIGHT_HOURS", "22:00-24:30"),
        ("NIGHTREEL_NIGHT_DAYS", "weekdays"),
        ("NIGHTREEL_NIGHT_DAYS", "mon, tue"),
        ("NIGHTREEL_NIGHT_ORDER", "random"),
        ("NIGHTREEL_NIGHT_FOLDERS", "archive,"),
        ("NIGHTREEL_NIGHT_FOLDERS", "/mnt/archive"),
        ("NIGHTREEL_NIGHT_FOLDERS", "archive/2024,tapes"),
        ("NIGHTREEL_NIGHT_FOLDERS", "archive//2024"),
        ("NIGHTREEL_NIGHT_FOLDERS", "archive/../inbox"),
        ("NIGHTREEL_NIGHT_FIRST", "/news"),
        ("NIGHTREEL_NIGHT_FIRST", "tapes/news"),
        ("NIGHTREEL_NIGHT_FIRST", "inbox"),
        ("NIGHTREEL_RENEW", "yes"),
        ("NIGHTREEL_SHARD_MINUTES", "0"),
        ("NIGHTREEL_LIGHT_SLOTS", "0"),
        ("AIRFLOW_PORT", "eighty"),
        ("POSTGRES_PORT", "70000"),
        ("COMPOSE_PROJECT_NAME", "Night Reel"),
        ("NIGHTREEL_ARCHIVE", "media"),
        ("NIGHTREEL_STAGE_CPUS", "0"),
        ("NIGHTREEL_STAGE_MEMORY_MIB", "8G"),
        ("NIGHTREEL_CPU_SLOTS", "0"),
        ("NIGHTREEL_PARALLELISM", "0"),
        ("MEDIA_DB_PASSWORD", "a@b/c"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_the_remedy(env_file: Path, name: str, value: str) -> None:
    with pytest.raises(ConsoleError, match=rf"{name} must (be|lie in) .*\.env"):
        first_settings(env_file, environment={name: value})


@given(cores=st.integers(1, 256), memory_mib=st.integers(2_048, 1_048_576))
def test_stage_containers_never_take_more_cores_than_there_are(cores: int, memory_mib: int) -> None:
    machine = Machine(cores, memory_mib, Path("/repository"))
    assert machine.cpu_slots * machine.stage_cpus <= cores
    assert machine.cpu_slots >= 1
    assert machine.stage_memory_mib >= 2_048


@given(cores=st.integers(1, 256), gpu=st.integers(0, 64), light=st.integers(1, 64))
def test_the_pools_slots_add_up_to_the_parallelism(
    tmp_path_factory: pytest.TempPathFactory, cores: int, gpu: int, light: int
) -> None:
    env_file = tmp_path_factory.mktemp("env") / ".env"
    first = complete(env_file, Machine(cores, 16_384, Path("/repository")))
    assert int(first["NIGHTREEL_PARALLELISM"]) == load_settings(env_file, {}).slots
    environment = {"NIGHTREEL_GPU_SLOTS": str(gpu), "NIGHTREEL_LIGHT_SLOTS": str(light)}
    settings = load_settings(env_file, environment)
    made = pools(settings.slots, int(settings.values["NIGHTREEL_CPU_SLOTS"]), gpu)
    assert {pool.name: pool.slots for pool in made} == {
        "default_pool": light,
        "cpu": int(settings.values["NIGHTREEL_CPU_SLOTS"]),
        "gpu": max(1, gpu),
    }
    assert sum(pool.slots for pool in made) == settings.slots


def test_pools_that_leave_nothing_for_light_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="NIGHTREEL_PARALLELISM is 4"):
        pools(4, 3, 1)
    with pytest.raises(ValueError, match=r"the pool gpu has 1 \(NIGHTREEL_GPU_SLOTS, at least 1\)"):
        pools(4, 3, 0)
