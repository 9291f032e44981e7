import socket

import docker

from operators.orphans import LeftContainer, TaskStates, find_orphans, remove
from stage_contract.request import TaskKey


def container(name, run_id="run", task_id="media_probe", dag_id="process_media"):
    return LeftContainer(name, TaskKey(dag_id=dag_id, run_id=run_id, task_id=task_id, try_number=1))


def test_only_containers_of_ended_or_unknown_tasks_are_orphans():
    states: TaskStates = {
        "run": {"media_probe": "running", "media_extract": "failed", "vision_analyze": "up_for_retry"},
        "cleared": {"media_probe": None},
    }
    containers = [
        container("a"),
        container("b", task_id="media_extract"),
        container("c", task_id="vision_analyze"),
        container("d", run_id="cleared"),
        container("e", run_id="deleted"),
    ]
    orphans = find_orphans(containers, lambda dag_id, run_ids: states)
    assert [orphan.container_id for orphan in orphans] == ["b", "e"]


def test_airflow_is_asked_once_per_dag_with_each_run_once():
    asked = []

    def states_of(dag_id: str, run_ids: list[str]) -> TaskStates:
        asked.append((dag_id, run_ids))
        return {}

    find_orphans([container("a"), container("b"), container("c", dag_id="other")], states_of)
    assert asked == [("process_media", ["run"]), ("other", ["run"])]


def test_a_container_that_the_engine_cannot_remove_in_time_is_left_to_the_next_round(tmp_path):
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(tmp_path / "engine.sock"))
        # It takes the request and never answers, as for a process that hangs in the kernel.
        engine.listen()
        client = docker.APIClient(f"unix://{tmp_path}/engine.sock", version="1.41", timeout=0.2)
        assert not remove(client, container("a"))
