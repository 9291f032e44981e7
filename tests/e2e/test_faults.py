"""What happens when processes die, people cancel, and files are bad."""

import json
import math
import os
import shutil
import signal
import subprocess
import time
from functools import partial
from operator import eq

import pytest

from console.engine import docker
from operators.container import ContainerIdentity
from operators.shard import RunFolder
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Reason, ResultStatus
from tests.corpus.cases import CORPUS, MARKER, MARKER_PATH
from tests.corpus.make_corpus import make_corpus
from tests.deployment import wait_until

ATTEMPTS = """
select try_number, joined_try_number, container_id, outcome, items_done, items_reused from stage_attempt
where dag_id = :dag_id and run_id = :run_id and task_id = :task_id order by try_number
"""


WORDS_TO_HEAR = 300
"""So many keep a transcription busy for a quarter of a minute and more."""


def start_transcription(deployment, narration, name, copies=None):
    """A run whose transcription is under way, and its container. The files are new, so nothing is reused.

    A short narration is given in several copies, so that there is time to interfere.
    """
    copies = copies or math.ceil(WORDS_TO_HEAR / len(narration.known_text.split()))
    locations = [add_copy(deployment, narration.path, f"{name}/{number}.mp4") for number in range(copies)]
    run = deployment.api.trigger("process_media", {"files": locations, "stages": ["audio.transcribe"]})

    def transcriber():
        found = [container(c) for c in deployment.containers(run)]
        return next((c for c in found if c["task"] == "audio_transcribe_cpu" and c["status"] == "running"), None)

    running = wait_until(transcriber, bool, 180, every_s=0.2)
    return run, running["id"]


TRANSCRIPTIONS = """
select try_number from phase_timing
where dag_id = :dag_id and run_id = :run_id and task_id = 'audio_transcribe_cpu' and phase = 'transcription'
"""


def add_copy(deployment, film, name):
    """Add a film whose content no other has. An MP4 box of type `free` changes the hash and nothing else."""
    location = deployment.add(film, name)
    padding = name.encode()
    with (deployment.settings.archive / name).open("ab") as file:
        file.write((8 + len(padding)).to_bytes(4, "big") + b"free" + padding)
    return location


def container(container_id):
    told = subprocess.run(
        ["docker", "inspect", "-f", '{{index .Config.Labels "nightreel.task_id"}} {{.State.Status}}', container_id],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    task, status = told if len(told) == 2 else ("", "")
    return {"id": container_id, "task": task, "status": status}


def task_process(deployment, run, task_id):
    """The pid, on this machine, of the process that runs a task; its supervisor's title names the executor too."""
    instance = next(t.instance_id for t in deployment.api.tasks(run.dag_id, run.run_id) if t.task_id == task_id)
    lines = docker("top", deployment.service("scheduler"), "-eo", "pid,args").splitlines()
    return next(int(line.split()[0]) for line in lines if line.endswith(f"worker -- {instance}"))


def test_a_retry_joins_the_container_that_its_killed_task_left(deployment, narration):
    run, container_id = start_transcription(deployment, narration, "killed")
    time.sleep(2)
    os.kill(task_process(deployment, run, "audio_transcribe_cpu"), signal.SIGKILL)
    run = deployment.wait(run)
    assert run.state == "success"
    first, second = deployment.run_rows(ATTEMPTS, run, task_id="audio_transcribe_cpu")
    assert first["outcome"] == "lost"
    assert (second["outcome"], second["joined_try_number"]) == ("done", 1)
    assert first["container_id"] == second["container_id"] == container_id
    log = deployment.api.task_log(run.dag_id, run.run_id, "audio_transcribe_cpu", 2)
    assert f"Joined container {container_id}" in log
    # What the container timed while nobody watched is recorded once, by the try that collected it.
    timed = deployment.run_rows(TRANSCRIPTIONS, run)
    assert {row["try_number"] for row in timed} == {2}
    assert len(timed) == second["items_done"]
    assert deployment.containers(run) == []
    results = deployment.rows(
        "select count(*) as n from stage_result join media_location using (asset_id) "
        "where path like 'killed/%' and stage = 'audio.transcribe'"
    )
    assert results[0]["n"] == second["items_done"] >= 1


def test_cancelling_removes_the_container_within_ten_seconds(deployment, narration):
    run, _container_id = start_transcription(deployment, narration, "cancelled")
    time.sleep(2)
    cancelled_s = time.monotonic()
    deployment.api.set_run_state(run.dag_id, run.run_id, "failed")
    wait_until(lambda: deployment.containers(run), lambda found: not found, 10, every_s=0.2)
    assert time.monotonic() - cancelled_s <= 10
    attempts = wait_until(
        lambda: deployment.run_rows(ATTEMPTS, run, task_id="audio_transcribe_cpu"),
        lambda rows: rows[0]["outcome"] != "running",
        10,
    )
    assert [row["outcome"] for row in attempts] == ["cancelled"]
    phases = deployment.run_rows(
        "select phase from phase_timing where (dag_id, run_id, task_id) = (:dag_id, :run_id, 'audio_transcribe_cpu')",
        run,
    )
    assert {"container_start", "import", "model_load"} <= {row["phase"] for row in phases}


def items_begun(deployment, run):
    """How many tries of the transcription have come to an item."""
    folder = RunFolder(deployment.settings.work, run.dag_id, run.run_id).path / "audio_transcribe_cpu"
    return len(list(folder.glob("try-*/current_item")))


def running_container(deployment, run):
    return next(c["id"] for c in map(container, deployment.containers(run)) if c["status"] == "running")


def test_a_container_whose_item_dies_twice_gives_that_item_up(deployment, narration, speech):
    """SIGKILL of the container itself, each time it is on the first item: the other is done all the same."""
    run, _container_id = start_transcription(deployment, narration, "deadly", copies=1)
    for number in (1, 2):
        wait_until(partial(items_begun, deployment, run), partial(eq, number), 120)
        docker("kill", "--signal", "KILL", running_container(deployment, run))
    run = deployment.wait(run)
    assert run.state == "failed"
    items = deployment.run_rows(
        "select outcome, message from run_item where dag_id = :dag_id and run_id = :run_id", run
    )
    assert items[0]["outcome"] == "failed"
    assert "given up" in items[0]["message"]


def test_a_running_stage_is_shut_in(deployment, narration):
    run, container_id = start_transcription(deployment, narration, "inspected")
    told = json.loads(docker("inspect", container_id))[0]
    host = told["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["PidsLimit"] > 0
    assert host["Memory"] == host["MemorySwap"] > 0
    assert host["NanoCpus"] > 0
    assert host["Privileged"] is False
    assert told["Config"]["User"] == "10001:10001"
    writable = {mount["Destination"] for mount in told["Mounts"] if mount["RW"]}
    assert all(path == "/work" or path.endswith("/audio.transcribe") for path in writable)
    assert {"/media/archive", "/media/inbox", "/results"} == {m["Destination"] for m in told["Mounts"] if not m["RW"]}
    processes = docker("top", container_id, "-eo", "pid,uid,cmd").splitlines()[1:]
    assert {line.split()[1] for line in processes} == {"10001"}
    deployment.api.set_run_state(run.dag_id, run.run_id, "failed")


@pytest.fixture(scope="module")
def corpus_run(deployment, speech):
    make_corpus(deployment.settings.archive / "corpus")
    run = deployment.run("archive/corpus")
    yield run
    shutil.rmtree(deployment.settings.archive / "corpus")


def expected_reason(case):
    if case.registration:
        return case.registration
    return case.probe.reason if case.probe.status is ResultStatus.REJECTED else None


def test_every_bad_file_has_its_outcome_and_the_good_ones_are_done(deployment, corpus_run):
    rows = deployment.run_rows(
        "select path, outcome, reason, message from run_item where dag_id = :dag_id and run_id = :run_id", corpus_run
    )
    # A folder is looked into, whatever its name; it is no row of its own.
    cases = {f"corpus/{case.path}": case for case in CORPUS if case.path != "links/folder.mp4"}
    # Two playlists point to this file: it lies in the archive like any other, and is text.
    marker = f"corpus/{MARKER_PATH}"
    assert {row["path"] for row in rows} == set(cases) | {marker}
    assert len(rows) >= 20
    for row in rows:
        reason = Reason.NOT_MEDIA if row["path"] == marker else expected_reason(cases[row["path"]])
        assert (row["outcome"], row["reason"]) == ("rejected" if reason else "done", reason), row
        assert len(row["message"]) > 15 or not reason
        assert MARKER not in row["message"]
    assert corpus_run.state == "success"


def test_a_container_of_a_run_that_is_no_more_is_removed(deployment):
    task = TaskKey(dag_id="process_media", run_id="deleted long ago", task_id="media_probe", try_number=4)
    identity = ContainerIdentity(deployment.settings.project, task)
    labels = [part for name, value in identity.labels.items() for part in ("--label", f"{name}={value}")]
    orphan = docker("run", "--detach", *labels, "--entrypoint", "sleep", "nightreel/media:cpu", "600")
    assert orphan in deployment.containers()
    run = deployment.wait(deployment.api.trigger("remove_orphans", {}))
    assert run.state == "success"
    assert orphan not in deployment.containers()
