"""The child process that watches for Xid events. It tells what it watches, then every event, and that it lives.

It ends when it can watch no longer; the agent starts it anew.
"""

import ctypes
import sys
from typing import Any

import pynvml  # type: ignore[import-untyped]

from gpu_agent.pipe import say, take_stdout
from gpu_agent.xids import WatchMessage, XidMessage

WAIT_MS = 500
ANY_INSTANCE = 0xFFFFFFFF


def main() -> int:
    """Watch until NVML fails or the agent goes away."""
    pipe = take_stdout()
    try:
        pynvml.nvmlInit()
        events = pynvml.nvmlEventSetCreate()
        watched = _register_all(events)
        say(pipe, WatchMessage(gpu_uuids=tuple(watched.values())))
        while True:
            # A broken pipe ends it: the agent is gone.
            say(pipe, WatchMessage(xid=_next_xid(events, watched)))
    except pynvml.NVMLError as error:
        print(f"Xid events cannot be watched: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0


def _register_all(events: Any) -> dict[int, str]:
    """UUIDs of the GPUs that tell of Xids, by their handles' addresses."""
    watched: dict[int, str] = {}
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = str(pynvml.nvmlDeviceGetUUID(gpu))
            pynvml.nvmlDeviceRegisterEvents(gpu, pynvml.nvmlEventTypeXidCriticalError, events)
        except pynvml.NVMLError as error:
            print(f"GPU {index} tells of no Xid events: {error}", file=sys.stderr)
        else:
            watched[_address(gpu)] = uuid
    return watched


def _next_xid(events: Any, watched: dict[int, str]) -> XidMessage | None:
    try:
        event = pynvml.nvmlEventSetWait_v2(events, WAIT_MS)
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_TIMEOUT:
            return None
        raise
    uuid = watched.get(_address(event.device))
    if uuid is None or event.eventType != pynvml.nvmlEventTypeXidCriticalError:
        return None
    instance = None if event.gpuInstanceId == ANY_INSTANCE else int(event.gpuInstanceId)
    return XidMessage(gpu_uuid=uuid, xid=int(event.eventData), gpu_instance=instance)


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


if __name__ == "__main__":
    sys.exit(main())
