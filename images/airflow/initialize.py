"""What must be there before Airflow's services start. Run once at each start; running it again changes nothing.

Migrates both databases, writes the users' passwords for the login, and sets the pools' sizes, also for tasks that wait.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, create_engine, text

PASSWORDS_FILE = Path("/opt/airflow/auth/passwords.json")
PASSWORD_VARIABLES = {
    "admin": "ADMIN_PASSWORD",
    "viewer": "VIEWER_PASSWORD",
    "nightreel": "NIGHTREEL_NOTES_PASSWORD",
}
GPU_POOL = "gpu"
# Airflow keeps a task's pool_slots from when its row was made. Where GPUs went away or their budget grew since then, a
# task may ask for more slots than its pool has now: the scheduler would pass it over for ever. Running ones count too,
# for they are tried again when the scheduler starts anew.
LOWER_POOL_SLOTS = text(
    """
    update task_instance set pool_slots = slot_pool.slots
    from slot_pool
    where slot_pool.pool = :pool and task_instance.pool = slot_pool.pool
        and task_instance.pool_slots > slot_pool.slots
        and (
            task_instance.state is null
            or task_instance.state not in ('success', 'failed', 'skipped', 'upstream_failed', 'removed')
        )
    """
)


@dataclass(frozen=True)
class Pool:
    """An Airflow pool: how many slots its tasks share."""

    name: str
    slots: int
    description: str


def pools(parallelism: int, cpu_slots: int, gpu_slots: int) -> list[Pool]:
    """Pools whose slots add up to `parallelism`.

    More slots than that would queue tasks that no worker takes, and Airflow fails a task that is queued for long.
    Without GPUs the pool `gpu` has one slot all the same: a task that still waits for it gets its turn, finds no GPU
    and leaves the work to the CPU. Without a slot it would wait for ever, and its run with it.

    Raises:
        ValueError: nothing would be left for the light tasks.
    """
    gpu_slots = max(1, gpu_slots)
    light_slots = parallelism - cpu_slots - gpu_slots
    if cpu_slots < 1 or light_slots < 1:
        raise ValueError(
            "parallelism must leave a slot for light tasks: "
            f"NIGHTREEL_PARALLELISM is {parallelism}, NIGHTREEL_CPU_SLOTS {cpu_slots} (at least 1), "
            f"the pool gpu has {gpu_slots} (NIGHTREEL_GPU_SLOTS, at least 1); "
            "run `make up`, which reckons it from the slots"
        )
    return [
        Pool("default_pool", light_slots, "Light tasks: they wait, ask and write, and compute little"),
        Pool("cpu", cpu_slots, "Stage containers on the CPU: one slot, one container"),
        Pool(GPU_POOL, gpu_slots, "Stage containers on a GPU: one slot, one GPU budget; one slot without a GPU"),
    ]


def write_passwords(path: Path, passwords: dict[str, str]) -> None:
    """Write the file of SimpleAuthManager, readable by this user only."""
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(passwords))
    temporary.replace(path)


def set_pools(wanted: list[Pool]) -> None:
    """Create or change the pools; others stay as they are.

    Raises:
        subprocess.CalledProcessError: Airflow refused.
    """
    content = {
        pool.name: {"slots": pool.slots, "description": pool.description, "include_deferred": False} for pool in wanted
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(content))
        file.flush()
        _run("set the pools", "airflow", "pools", "import", file.name)


def lower_pool_slots(connection: Connection) -> int:
    """Let no unfinished task of the pool `gpu` ask for more slots than the pool has; returns how many did."""
    return connection.execute(LOWER_POOL_SLOTS, {"pool": GPU_POOL}).rowcount


def main() -> int:
    """Do all of it, in order; the exit code is 0 or that of the step that failed."""
    try:
        wanted = pools(*(int(os.environ[f"NIGHTREEL_{name}"]) for name in ("PARALLELISM", "CPU_SLOTS", "GPU_SLOTS")))
        write_passwords(PASSWORDS_FILE, {user: os.environ[name] for user, name in PASSWORD_VARIABLES.items()})
        _run("migrate Airflow's database", "airflow", "db", "migrate")
        _run("migrate the media database", sys.executable, "-m", "operators.migrate")
        set_pools(wanted)
        # Airflow's API cannot change this; its own database is at hand here, where it is migrated too.
        with create_engine(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).begin() as connection:
            print(f"waiting GPU tasks that asked for too many slots: {lower_pool_slots(connection)}", flush=True)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd)} ended with {error.returncode}; its words are above", file=sys.stderr)
        return error.returncode
    return 0


def _run(title: str, *command: str) -> None:
    started_s = time.monotonic()
    print(f"{title} ...", flush=True)
    subprocess.run(command, check=True)
    print(f"{title}: done in {time.monotonic() - started_s:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
