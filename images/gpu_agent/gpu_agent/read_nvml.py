"""The child process that reads NVML: answers `system` and `gpu N`, a line each, until its stdin ends."""

import sys

from gpu_agent.nvml import read_gpu, read_system
from gpu_agent.pipe import say, take_stdout
from gpu_agent.reading import SYSTEM, SystemReading


def main() -> None:
    """Answer until the agent goes away."""
    pipe = take_stdout()
    say(pipe, SystemReading())
    started = False
    for line in sys.stdin:
        word, _, index = line.strip().partition(" ")
        if word == SYSTEM:
            system = read_system(started)
            started = system.fault is None
            say(pipe, system)
        else:
            say(pipe, read_gpu(int(index)))


if __name__ == "__main__":
    main()
