"""The page of the GPUs, and what a person changes there."""

import time
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from operators.gpu.breaker import BreakerState
from operators.gpu.breaker_store import breakers
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import ask, try_grant
from operators.gpu.routing_store import routing
from operators.routing import DevicePolicy
from stage_contract.gpu_health import HealthVerdict, HostHealth
from stage_contract.vocabulary import Stage
from tests.operators.gpu.samples import SMALL, device, healthy, request
from tests.operators.gpu.test_agent_client import say, server

NOWHERE = "http://127.0.0.1:9"
FAN = {"device": SMALL, "action": "open", "reason": "the fan is broken"}


@pytest.fixture
def one_gpu(monkeypatch):
    monkeypatch.setenv("NIGHTREEL_GPU_DEVICES", SMALL)
    monkeypatch.setenv("NIGHTREEL_GPU_VRAM_MIB", "8192")
    monkeypatch.setenv("NIGHTREEL_GPU_AGENT_URL", NOWHERE)


def agent_says(*devices):
    health = HostHealth(
        observed_at=datetime.now(UTC), verdict=HealthVerdict.HEALTHY, driver_version="570.1", devices=devices
    )
    return server(say(health.model_dump_json().encode()))


def page_of(client, path="/devices"):
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.text


def test_without_a_gpu_the_page_says_how_to_use_one_and_still_shows_the_routing(visit):
    text = page_of(visit("viewer"))
    assert "No GPU is configured" in text
    assert "NIGHTREEL_GPU_DEVICES" in text
    assert "audio.transcribe" in text


@pytest.mark.usefixtures("one_gpu")
def test_a_gpu_is_shown_with_health_breaker_temperature_and_driver(visit, monkeypatch):
    warm = device().model_copy(update={"temperature_c": 71, "slowdowns": ("thermal_slowdown",), "utilization": 0.5})
    with agent_says(warm) as url:
        monkeypatch.setenv("NIGHTREEL_GPU_AGENT_URL", url)
        text = page_of(visit("viewer"))
    for shown in ("RTX 4060", "healthy", "breaker closed", "71 °C", "thermal slowdown", "driver 570.1", "50.0%"):
        assert shown in text


@pytest.mark.usefixtures("one_gpu")
def test_leases_held_and_waited_for_link_to_their_runs(visit, media_database):
    gpus = GpuConfiguration.from_environment()
    for run_id in ("night", "manual__2026-11-21T08:00:00+00:00"):
        try_grant(media_database, ask(media_database, request(run_id)), gpus, healthy(gpus))
    text = page_of(visit("viewer"))
    assert "waits" in text
    assert 'target="_top" href="/dags/process_media/runs/manual__2026-11-21T08%3A00%3A00%2B00%3A00"' in text
    assert "/timings/run/process_media?run_id=manual__2026-11-21T08%3A00%3A00%2B00%3A00" in text
    assert "7\u202f680 MiB" in text


@pytest.mark.usefixtures("one_gpu")
def test_an_agent_that_is_away_is_shown_with_what_to_do(visit):
    text = page_of(visit("viewer"))
    assert "unknown" in text
    assert "cannot be reached" in text
    assert "<code>make up</code>" in text


@pytest.mark.usefixtures("one_gpu")
def test_an_agent_that_hangs_keeps_nobody_waiting(visit, monkeypatch):
    with server(lambda connection: time.sleep(5)) as url:
        monkeypatch.setenv("NIGHTREEL_GPU_AGENT_URL", url)
        client, began = visit("viewer"), time.monotonic()
        assert "did not answer" in page_of(client)
    assert time.monotonic() - began < 1.5


@pytest.mark.usefixtures("one_gpu")
def test_an_editor_takes_a_gpu_out_of_service_in_their_own_name(visit, media_database):
    client = visit("op")
    answer = client.post("/devices/breaker", data=FAN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/devices")
    breaker = breakers(media_database)[SMALL]
    assert (breaker.state, breaker.changed_by, breaker.reason) == (BreakerState.OPEN, "op", "the fan is broken")
    told = page_of(client)
    assert "is out of service until its breaker is closed by hand" in told
    assert "Put back into service" in told
    assert "closed → open" in told
    assert "is out of service until its breaker is closed by hand" not in page_of(client), "it is told once"


@pytest.mark.usefixtures("one_gpu")
def test_an_editor_routes_a_stage_in_their_own_name(visit, media_database):
    client = visit("user")
    client.post("/devices/routing", data={"stage": "vision.analyze", "policy": "cpu", "reason": "checking results"})
    assert routing(media_database)[Stage.ANALYZE] is DevicePolicy.CPU
    told = page_of(client)
    assert "vision.analyze runs on the CPU from its next task on" in told
    assert "checking results" in told
    assert "auto → cpu" in page_of(client, "/devices/history?of=routing")


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_a_change_without_a_proper_reason_is_refused_in_words(visit, media_database, reason):
    client = visit("op")
    assert client.post("/devices/breaker", data={**FAN, "reason": reason}).status_code == 303
    assert breakers(media_database) == {}
    told = page_of(client)
    assert "notice refused" in told
    assert "reason" in told


def test_gpu_for_a_stage_where_there_is_none_is_refused_in_words(visit, media_database):
    client = visit("op")
    client.post("/devices/routing", data={"stage": "vision.analyze", "policy": "gpu", "reason": "faster"})
    assert routing(media_database)[Stage.ANALYZE] is DevicePolicy.AUTO
    assert "a stage routed to the GPU must have one" in page_of(client)


@pytest.mark.usefixtures("one_gpu")
def test_a_viewer_sees_no_buttons_and_changes_nothing(visit, media_database):
    client = visit("viewer")
    assert 'method="post"' not in page_of(client)
    assert client.post("/devices/breaker", data=FAN).status_code == 403
    routed = {"stage": "vision.analyze", "policy": "cpu", "reason": "why not"}
    assert client.post("/devices/routing", data=routed).status_code == 403
    assert breakers(media_database) == {}
    assert routing(media_database)[Stage.ANALYZE] is DevicePolicy.AUTO


@pytest.mark.usefixtures("one_gpu")
def test_a_form_on_somebody_elses_page_changes_nothing(visit, media_database):
    answer = visit("admin").post("/devices/breaker", data=FAN, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert breakers(media_database) == {}


@pytest.mark.usefixtures("one_gpu")
def test_markup_in_a_reason_and_in_what_the_agent_says_is_text(visit, monkeypatch):
    hostile = "<script>alert(1)</script>"
    client = visit("op")
    client.post("/devices/breaker", data={**FAN, "reason": f"{hostile} `{hostile}`"})
    with agent_says(device().model_copy(update={"name": hostile})) as url:
        monkeypatch.setenv("NIGHTREEL_GPU_AGENT_URL", url)
        text = page_of(client) + page_of(client, "/devices/history?of=breakers")
    assert hostile not in text
    assert text.count("&lt;script&gt;alert(1)") >= 4


def test_a_notice_that_is_not_ours_is_left_out(visit):
    client = visit("viewer")
    for forged in ("nonsense", "e30=", unquote("eyJ0ZXh0IjogMX0=")):
        client.cookies.set("nightreel_notice", forged)
        assert 'class="notice' not in page_of(client)


@pytest.mark.usefixtures("one_gpu")
def test_settings_that_are_wrong_are_said(visit, monkeypatch):
    monkeypatch.setenv("NIGHTREEL_GPU_VRAM_MIB", "much")
    answer = visit("viewer").get("/devices")
    assert answer.status_code == 500
    assert "NIGHTREEL_GPU_VRAM_MIB" in answer.text
