"""`python -m operators.metrics` serves metrics on port 9420; `--check` asks the one that runs whether it answers."""

import argparse
import logging
import signal
import sys
import urllib.request
from types import FrameType

from operators.database import connect
from operators.gpu.configuration import GpuConfiguration
from operators.metrics.reading import read_media
from operators.metrics.server import DEADLINE_S, LatestReading, MetricsServer

PORT = 9420
CHECK_S = 5.0


def serve() -> None:
    """Serve until the process is told to end.

    Raises:
        SettingMissing: the database or the GPUs are not told.
        ChoiceInvalid: a setting of the GPUs is malformed.
    """
    engine, gpus = connect(), GpuConfiguration.from_environment()
    latest = LatestReading(lambda: read_media(engine, gpus, DEADLINE_S))
    server = MetricsServer(("", PORT), latest)
    signal.signal(signal.SIGTERM, _end)
    server.serve_forever()


def answers() -> bool:
    """Whether the server of this machine answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthy", timeout=CHECK_S) as answer:
            return bool(answer.status == 200)
    except OSError as error:
        sys.stderr.write(f"the metrics service must answer on port {PORT}: {error}\n")
        return False


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> int:
    """Serve, or check."""
    parser = argparse.ArgumentParser(prog="metrics", description="Metrics for Prometheus.")
    parser.add_argument("--check", action="store_true", help="ask whether the server answers")
    if parser.parse_args().check:
        return 0 if answers() else 1
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
