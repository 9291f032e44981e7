"""The container's health check: that the agent answers, whatever it says of the GPUs."""

import sys
import urllib.error
import urllib.request

from gpu_agent.settings import PORT

TIMEOUT_S = 3


def main() -> int:
    """Ask for /health; 0 when the agent answers, 1 with the reason when it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=TIMEOUT_S):
            return 0
    except (OSError, urllib.error.URLError) as error:
        print(f"the agent must answer on port {PORT}: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
