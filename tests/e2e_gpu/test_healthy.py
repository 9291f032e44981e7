"""All is well: the GPUs do what they can do, each container on the one that its lease names."""

from simulated_stage.workers import DEVICE_FILE, DeviceSeen


def test_a_healthy_gpu_does_the_gpu_stages(gpu_deployment):
    run = gpu_deployment.run(gpu_deployment.film("harbour.mp4"))
    states = gpu_deployment.task_states(run)
    assert run.state == "success", states
    assert states["audio_transcribe_gpu"] == states["vision_analyze_gpu"] == "success"
    assert states["audio_transcribe_cpu"] == states["vision_analyze_cpu"] == "skipped"
    seen = [
        DeviceSeen.model_validate_json(path.read_text())
        for path in gpu_deployment.settings.results.glob(f"assets/*/*/*/{DEVICE_FILE}")
    ]
    assert {device.variant for device in seen} == {"cpu", "cuda"}
