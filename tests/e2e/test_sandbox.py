"""What a stage container cannot do, tried with the very restrictions that the operator sets."""

import docker
import pytest

from operators.container import STAGE_USER, restrictions
from operators.settings import ContainerLimits

ATTEMPTS = {
    "open a socket to the network": "import socket; socket.create_connection(('192.0.2.1', 80), 3)",
    "look up a name": "import socket; socket.getaddrinfo('example.org', 80)",
    "write to its root": "open('/opt/nightreel/x', 'w')",
    "write to the media": "open('/media/x', 'w')",
    "write to the results": "open('/results/x', 'w')",
    "become root": "import os; os.setuid(0)",
    "change an owner": "import os; open('/tmp/x', 'w'); os.chown('/tmp/x', 0, 0)",
    "run a program from scratch space": (
        "import os, shutil, subprocess; shutil.copy('/bin/true', '/tmp/t'); os.chmod('/tmp/t', 0o755);"
        " subprocess.run(['/tmp/t'], check=True)"
    ),
}

SMALL = ContainerLimits(cpus=1, memory_mib=256, pids=64)


def run_in_sandbox(code, limits=SMALL):
    client = docker.APIClient()
    container = client.create_container(
        "nightreel/media:cpu",
        entrypoint=["python", "-c", code],
        user=STAGE_USER,
        host_config=client.create_host_config(**restrictions(limits)),
    )["Id"]
    try:
        client.start(container)
        code = client.wait(container, timeout=60)["StatusCode"]
        return code, client.logs(container).decode(), client.inspect_container(container)["State"]["OOMKilled"]
    finally:
        client.remove_container(container, force=True)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda name: name.replace(" ", "_"))
def test_a_stage_cannot(attempt):
    code, log, _ = run_in_sandbox(ATTEMPTS[attempt])
    assert code == 1, log
    assert "error" in log.lower()


def test_a_stage_can_use_scratch_space():
    code, log, _ = run_in_sandbox("open('/tmp/x', 'w').write('x')")
    assert code == 0, log


def test_memory_is_bounded():
    code, _, out_of_memory = run_in_sandbox("x = bytearray(1 << 30)")
    assert out_of_memory
    assert code == 137


def test_processes_are_bounded():
    code, log, _ = run_in_sandbox(
        "import os\nfor _ in range(200):\n    os.fork() or (__import__('time').sleep(5), os._exit(0))"
    )
    assert code == 1
    assert "BlockingIOError" in log
