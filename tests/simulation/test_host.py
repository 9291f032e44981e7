"""A simulated GPU host: what its containers are handed, what they see, and what the stages make of it."""

import os
import signal
import time
from pathlib import Path

import docker
import pytest
from docker.errors import APIError

from operators.publish import Publication, publish_asset
from simulated_stage.workers import DEVICE_FILE, DeviceSeen
from stage_contract.vocabulary import DeviceFault, ExitCode, ItemOutcome, Reason, Stage, Variant
from tests.operators.sample_results import add_asset
from tests.simulation.stage_bench import SimulatedStageBench


@pytest.fixture
def bench(host, tmp_path):
    for folder in [tmp_path, *tmp_path.parents][:3]:
        folder.chmod(0o755)
    return SimulatedStageBench(host, tmp_path)


def device_of(finished, film):
    return finished.output(film, DEVICE_FILE, DeviceSeen)


def probed(bench, film):
    return bench.run_simulated(bench.request(Stage.PROBE, [bench.source(film)], {}))


def wait_for(condition, limit_s=5.0):
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to be"
        time.sleep(0.05)


def test_what_all_stages_write_on_the_cpu_can_be_published(bench, media_database):
    film = bench.film("harbour.mp4")
    asset_id = add_asset(media_database, bench.archive, (bench.archive / film).read_bytes(), film)
    probe = probed(bench, film)
    extract = bench.run_simulated(bench.request(Stage.EXTRACT, [bench.source(film, probe)], {}))
    transcribe = bench.run_simulated(bench.request(Stage.TRANSCRIBE, [bench.source(film, probe, extract)], {}))
    analyze = bench.run_simulated(bench.request(Stage.ANALYZE, [bench.source(film, probe)], {}))
    enrich = bench.run_simulated(bench.request(Stage.ENRICH, [bench.source(film, transcribe)], {}))
    done = (probe, extract, transcribe, analyze, enrich)
    assert [finished.exit_code for finished in done] == [ExitCode.DONE] * 5
    index = {finished.request.stage: finished.item(film).fingerprint for finished in done}
    published = publish_asset(media_database, bench.results, asset_id, index)
    assert set(published.stages.values()) == {Publication.WRITTEN}
    assert device_of(transcribe, film).device == "cpu"


@pytest.mark.parametrize(("stage", "compute_type"), [(Stage.TRANSCRIBE, "float16"), (Stage.ANALYZE, "float16")])
def test_a_container_is_handed_the_one_gpu_that_its_request_names(bench, host, stage, compute_type):
    film = bench.film("harbour.mp4")
    finished = bench.run_simulated(bench.on_gpu(stage, [bench.source(film)], "GPU-2"))
    assert finished.exit_code == ExitCode.DONE, finished.log
    seen = device_of(finished, film)
    assert (seen.variant, seen.device, seen.compute_type) == (Variant.CUDA, "GPU-2", compute_type)
    grant = host.grants()[-1]
    assert grant.devices == ("GPU-2",)
    assert grant.container_id.startswith(seen.container_id)


def test_a_container_on_the_cpu_is_handed_nothing(bench, host):
    before = len(host.grants())
    probed(bench, bench.film("harbour.mp4"))
    assert len(host.grants()) == before


def test_with_a_broken_driver_no_gpu_container_starts_and_the_engine_says_why(bench, host):
    host.mismatch()
    request = bench.on_gpu(Stage.ANALYZE, [bench.source(bench.film("harbour.mp4"))], "GPU-1")
    with pytest.raises(APIError, match="driver/library version mismatch"):
        bench.run_simulated(request)
    assert "version mismatch" in (host.grants()[-1].refusal or "")
    host.heal()
    assert bench.run_simulated(request).exit_code == ExitCode.DONE


def test_memory_that_another_program_holds_is_missed(bench, host):
    host.take("GPU-1", 7000)
    finished = bench.run_simulated(bench.on_gpu(Stage.ANALYZE, [bench.source(bench.film("harbour.mp4"))], "GPU-1"))
    assert finished.exit_code == ExitCode.DEVICE_FAILED, finished.log
    assert finished.outcome.device_fault is DeviceFault.OUT_OF_MEMORY
    # 8192 MiB without the 7000 and what the card keeps for itself. Half a batch did not fit either.
    assert "GPU-1 has 936" in finished.outcome.message
    assert "batch 8" in finished.outcome.message


def test_a_gpu_lost_during_the_work_ends_it(bench, host):
    film = bench.film("long.mp4", "vision.analyze cuda: sleep 30")
    request = bench.on_gpu(Stage.ANALYZE, [bench.source(film)], "GPU-3")
    started_s = time.monotonic()
    finished = bench.run_simulated(request, meanwhile=lambda: host.lose("GPU-3"))
    assert time.monotonic() - started_s < 10
    assert finished.outcome.device_fault is DeviceFault.BROKEN
    assert "GPU is lost" in finished.outcome.message


def test_what_a_container_holds_counts_while_it_lives_and_no_longer(bench, host):
    film = bench.film("long.mp4", "vision.analyze cuda: take 1500", "vision.analyze cuda: sleep 3")
    held = []

    def look():
        wait_for(lambda: held_mib(host, "GPU-1") == 1500)
        held.append(1500)

    bench.run_simulated(bench.on_gpu(Stage.ANALYZE, [bench.source(film)], "GPU-1"), meanwhile=look)
    assert held == [1500]
    wait_for(lambda: held_mib(host, "GPU-1") == 0)


def held_mib(host, uuid):
    (gpu,) = [gpu for gpu in host.nvml.read().gpus if gpu.uuid == uuid]
    return sum(process.used_mib for process in gpu.processes)


def test_out_of_memory_halfway_leaves_the_finished_items_and_goes_on_with_half_the_batch(bench):
    first, second = bench.film("1.mp4"), bench.film("2.mp4", "vision.analyze cuda: oom")
    finished = bench.run_simulated(bench.on_gpu(Stage.ANALYZE, [bench.source(first), bench.source(second)], "GPU-1"))
    assert finished.exit_code == ExitCode.DONE, finished.log
    assert (device_of(finished, first).batch_size, device_of(finished, second).batch_size) == (16, 8)


def test_a_film_that_never_fits_gives_the_device_up_after_the_finished_items(bench):
    first, second = bench.film("1.mp4"), bench.film("2.mp4", "vision.analyze cuda: oom-always")
    finished = bench.run_simulated(bench.on_gpu(Stage.ANALYZE, [bench.source(first), bench.source(second)], "GPU-1"))
    assert (finished.exit_code, finished.outcome.device_fault) == (ExitCode.DEVICE_FAILED, DeviceFault.OUT_OF_MEMORY)
    assert [report.outcome for report in finished.outcome.items] == [ItemOutcome.DONE, ItemOutcome.LEFT]


def test_an_engine_that_died_under_a_running_container_is_cleared_away_with_it(bench, host):
    client = docker.APIClient(base_url=f"unix://{host.engine.socket}")
    image = {"image": "nightreel/audio:cuda", "entrypoint": "sleep", "command": "600"}
    asleep = client.create_container(**image, host_config=client.create_host_config(network_mode="none"))["Id"]
    client.start(asleep)
    pid = client.inspect_container(asleep)["State"]["Pid"]
    os.kill(int((host.engine.folder / "docker.pid").read_text()), signal.SIGKILL)
    host.engine.start()
    assert not Path(f"/proc/{pid}/cmdline").exists() or Path(f"/proc/{pid}/cmdline").read_bytes() == b""
    film = bench.film("harbour.mp4")
    assert bench.run_simulated(bench.on_gpu(Stage.ANALYZE, [bench.source(film)], "GPU-1")).exit_code == ExitCode.DONE


def test_a_rejected_film_and_one_that_is_no_text_leave_the_others_alone(bench):
    (bench.archive / "real.mp4").write_bytes(bytes(range(256)))
    names = [bench.film("1.mp4", "media.probe: reject corrupt"), "real.mp4", bench.film("3.mp4")]
    finished = bench.run_simulated(bench.request(Stage.PROBE, [bench.source(name) for name in names], {}))
    assert [report.reason for report in finished.outcome.items] == [Reason.CORRUPT, Reason.NOT_MEDIA, None]
