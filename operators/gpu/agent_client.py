"""Asks the GPU agent how the devices are. Whatever goes wrong is an answer: `unknown`, and why."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
from pydantic import ValidationError

from stage_contract.gpu_health import HealthCode, HealthReason, HealthVerdict, HostHealth

STALE_AFTER_S = 15.0
LONGEST_ANSWER_BYTES = 4 * 2**20


class Nonsense(Exception):
    """The answer is none of the agent's."""


def ask_agent(url: str, timeout_s: float = 2.0) -> HostHealth:
    """The health of the host's devices, within `timeout_s` in all. Never raises: see `ask_agent_async`."""
    # A thread has no event loop yet, whoever calls.
    with ThreadPoolExecutor(1, thread_name_prefix="gpu-agent") as pool:
        return pool.submit(lambda: asyncio.run(ask_agent_async(url, timeout_s))).result()


async def ask_agent_async(url: str, timeout_s: float = 2.0) -> HostHealth:
    """The same for a trigger.

    Returns:
        What the agent says; or the verdict `unknown`, with the reason: it cannot be reached or does not
        answer in time, what it answers is not understood, or what it saw last is older than 15 s.
    """
    try:
        async with asyncio.timeout(timeout_s):
            answer = await _read(f"{url.rstrip('/')}/health", timeout_s)
    except (TimeoutError, httpx.TimeoutException):
        return _unknown(
            HealthCode.UNREACHABLE,
            f"the GPU agent at {url} did not answer within {timeout_s:g} s; `make logs SERVICE=gpu-agent` may tell why",
        )
    except (Nonsense, httpx.RemoteProtocolError, httpx.DecodingError) as error:
        return _nonsense(url, str(error))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return _unknown(
            HealthCode.UNREACHABLE,
            f"the GPU agent at {url} cannot be reached ({error or type(error).__name__}); `make status` tells whether "
            "it runs, `make up` starts it",
        )
    return read_answer(url, answer, datetime.now(UTC))


def read_answer(url: str, answer: bytes, now: datetime) -> HostHealth:
    """What the answer says, unless it is not understood or too old to count."""
    try:
        health = HostHealth.model_validate_json(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return _nonsense(url, f"{place}: {first['msg']}" if place else first["msg"])
    age_s = (now - health.observed_at).total_seconds()
    if age_s > STALE_AFTER_S:
        return _unknown(
            HealthCode.NVML_HANGS,
            f"the GPU agent last read the devices {timedelta(seconds=round(age_s))} ago, {STALE_AFTER_S:g} s at most "
            "count: the driver may hang; look at `nvidia-smi` on the host, and reboot it if that hangs too",
        )
    if age_s < -STALE_AFTER_S:
        return _nonsense(url, f"it has read the devices {-age_s:.0f} s from now; set the clocks right")
    return health


async def _read(url: str, timeout_s: float) -> bytes:
    # A service of our own: proxies and redirects lead elsewhere.
    async with (
        httpx.AsyncClient(timeout=timeout_s, trust_env=False, follow_redirects=False) as client,
        client.stream("GET", url) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise Nonsense(f"status {response.status_code}")
        answer = bytearray()
        async for chunk in response.aiter_bytes():
            answer += chunk
            if len(answer) > LONGEST_ANSWER_BYTES:
                raise Nonsense(f"more than {LONGEST_ANSWER_BYTES >> 20} MiB")
    return bytes(answer)


def _nonsense(url: str, what: str) -> HostHealth:
    return _unknown(
        HealthCode.NONSENSE,
        f"the GPU agent at {url} answers what is not understood ({what}); its image must be of the same version: "
        "run `make up`",
    )


def _unknown(code: HealthCode, message: str) -> HostHealth:
    return HostHealth(
        observed_at=datetime.now(UTC),
        verdict=HealthVerdict.UNKNOWN,
        reasons=(HealthReason(code=code, message=message),),
    )
