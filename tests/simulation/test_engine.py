"""The simulated host's engine: up quickly, gone for certain, and no trouble to the machine's own."""

import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from console.engine import docker
from console.terminal import ConsoleError
from tests.simulation.engine import SimulatedEngine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start an engine")


@pytest.fixture
def engine():
    # Not pytest's own folder: with a test's name in it, the path is too long for sockets.
    with tempfile.TemporaryDirectory() as folder:
        engine = SimulatedEngine(Path(folder) / "engine", Path(folder) / "gpus")
        yield engine
        engine.stop()


def processes_of(engine: SimulatedEngine) -> dict[int, str]:
    """Those whose command line names the engine's folder."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(engine.folder) in command:
            found[int(process.name)] = Path(os.fsdecode(command.split(b"\0")[0])).name
    return found


def mounts_of(engine: SimulatedEngine) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(engine.folder) in line]


def test_the_engine_answers_within_ten_seconds_and_starting_it_again_does_nothing(engine):
    started_s = time.monotonic()
    engine.start()
    assert time.monotonic() - started_s < 10
    before = processes_of(engine)
    engine.start()
    assert processes_of(engine) == before


def test_a_stopped_engine_leaves_neither_process_nor_mount(engine):
    engine.start()
    assert set(processes_of(engine).values()) == {"dockerd", "containerd"}
    engine.stop()
    assert (processes_of(engine), mounts_of(engine), engine.answers()) == ({}, [], False)
    engine.stop()


def test_an_engine_that_died_is_cleared_away_and_started_anew(engine):
    engine.start()
    (daemon,) = [pid for pid, name in processes_of(engine).items() if name == "dockerd"]
    os.kill(daemon, signal.SIGKILL)
    engine.start()
    assert engine.answers()
    assert sorted(processes_of(engine).values()) == ["containerd", "dockerd"]


def bridge() -> tuple[str, bool]:
    # The built-in networks alone: others come and go with what else runs here.
    networks = docker("network", "ls", "--quiet", "--filter", "type=builtin")
    return networks, Path("/sys/class/net/docker0").exists()


def test_the_machines_own_engine_keeps_its_networks(engine):
    before = bridge()
    engine.start()
    engine.stop()
    assert bridge() == before


def test_a_folder_too_deep_for_sockets_is_refused_with_the_remedy(tmp_path):
    deep = tmp_path / ("d" * 100)
    with pytest.raises(ConsoleError, match=r"at most 106 bytes.*shorter path"):
        SimulatedEngine(deep, tmp_path).start()
