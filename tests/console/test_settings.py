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
    database_without_passwords,
    load_settings,
    parse,
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
    assert len(secrets) == 8
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIRFLOW_PORT", "eighty"),
        ("POSTGRES_PORT", "70000"),
        ("COMPOSE_PROJECT_NAME", "Night Reel"),
        ("NIGHTREEL_ARCHIVE", "media"),
        ("NIGHTREEL_STAGE_CPUS", "0"),
        ("NIGHTREEL_STAGE_MEMORY_MIB", "8G"),
        ("NIGHTREEL_CPU_SLOTS", "0"),
        ("NIGHTREEL_PARALLELISM", "1"),
        ("MEDIA_DB_PASSWORD", "a@b/c"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_the_remedy(env_file: Path, name: str, value: str) -> None:
    with pytest.raises(ConsoleError, match=rf"{name} must be .*\.env"):
        first_settings(env_file, environment={name: value})


@given(cores=st.integers(1, 256), memory_mib=st.integers(2_048, 1_048_576))
def test_stage_containers_never_take_more_cores_than_there_are(cores: int, memory_mib: int) -> None:
    machine = Machine(cores, memory_mib, Path("/repository"))
    assert machine.cpu_slots * machine.stage_cpus <= cores
    assert machine.cpu_slots >= 1
    assert machine.stage_memory_mib >= 2_048


@given(cores=st.integers(1, 256), memory_mib=st.integers(8_192, 1_048_576))
def test_the_pools_slots_add_up_to_the_parallelism(
    tmp_path_factory: pytest.TempPathFactory, cores: int, memory_mib: int
) -> None:
    values = complete(tmp_path_factory.mktemp("env") / ".env", Machine(cores, memory_mib, Path("/repository")))
    parallelism, *slots = (int(values[f"NIGHTREEL_{name}"]) for name in ("PARALLELISM", "CPU_SLOTS", "GPU_SLOTS"))
    made = pools(parallelism, *slots)
    assert sum(pool.slots for pool in made) == parallelism
    assert [pool.name for pool in made] == ["default_pool", "cpu", "gpu"]


def test_pools_that_leave_nothing_for_light_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="NIGHTREEL_PARALLELISM is 4"):
        pools(4, 3, 1)
