"""`python -m gpu_agent` serves the host's GPU health over HTTP; with `--once` it prints it for a person."""

import argparse
import logging
import os
import signal
import sys
import threading
from types import FrameType

from gpu_agent.errors import DevicesTakenAway, SettingInvalid
from gpu_agent.observer import Observer
from gpu_agent.server import AgentServer
from gpu_agent.settings import PORT, AgentSettings
from gpu_agent.table import table
from stage_contract.gpu_health import HealthVerdict

USABLE = (HealthVerdict.HEALTHY, HealthVerdict.DEGRADED)
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104  in a container; Compose publishes it on this machine alone

log = logging.getLogger("gpu_agent")


def serve(settings: AgentSettings, address: str, port: int) -> int:
    """Look at the host and answer over HTTP until SIGTERM or SIGINT; 1 when it must be started anew."""
    observer = Observer(settings)
    ending = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ending.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    server = AgentServer((address, port), observer)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    log.info("listening on port %d", server.server_address[1])
    # In this thread: should looking at the host fail for a bug of ours, the agent ends, and is started anew.
    try:
        observer.run(ending)
    except DevicesTakenAway as error:
        log.error("%s", error)
        return 1
    finally:
        server.shutdown()
    return 0


def print_once(settings: AgentSettings) -> int:
    """Look once and print it; 0 when the devices can be used, 1 else. Xid events need a longer look."""
    observer = Observer(settings)
    try:
        health = observer.look().health
    finally:
        observer.close()
    sys.stdout.write(table(health))
    return 0 if health.verdict in USABLE else 1


def main() -> int:
    """Read the command line and the environment."""
    parser = argparse.ArgumentParser(prog="python -m gpu_agent", description=__doc__)
    parser.add_argument("--once", action="store_true", help="print the health as a table, and end")
    parser.add_argument("--address", default=EVERY_ADDRESS)
    parser.add_argument("--port", type=int, default=PORT)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = AgentSettings.from_environment(os.environ)
    except SettingInvalid as error:
        print(error, file=sys.stderr)
        return 2
    return print_once(settings) if arguments.once else serve(settings, arguments.address, arguments.port)


if __name__ == "__main__":
    sys.exit(main())
