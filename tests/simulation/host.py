"""A simulated GPU host: an engine that serves requests for GPUs, GPUs whose state is changed at will, and a driver
that keeps account of their memory."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from console.terminal import BUILD, REPOSITORY, ConsoleError, step
from tests.simulation.engine import SimulatedEngine
from tests.simulation.gpu_hook import (
    DRIVER_MISMATCH,
    DRIVER_NOT_LOADED,
    GRANTS_FILE,
    LIBRARY_FOLDER,
    GpuGrant,
    break_driver,
    mend_driver,
    read_grants,
)
from tests.simulation.images import provide_images
from tests.simulation.nvml_state import DRIVER_MISMATCH as MISMATCH_CODE
from tests.simulation.nvml_state import DRIVER_NOT_LOADED as NOT_LOADED_CODE
from tests.simulation.nvml_state import EVERY_FUNCTION, HW_THERMAL_SLOWDOWN, NvmlState, NvmlStateFile, SimulatedGpu
from tests.simulation.nvml_stub.build import build_stub

DEFAULT_FOLDER = BUILD / "simulation"
TEST_HOSTS = BUILD / "simulation-tests"
MOST_TEST_HOSTS = 8
DRIVER_MODULE = "tests.simulation.driver"
DRIVER_STOP_S = 5.0
NEWER_LIBRARY = "12.575.51.02"
HANGS_MS = 3_600_000
HOT_C = 96
# What a card's driver keeps for itself: on large cards more than Nightreel's own reserve (NIGHTREEL_GPU_RESERVE_MIB).
RESERVED_MIB = 256
LARGE_RESERVED_MIB = 640


def _geforce(uuid: str, total_mib: int, name: str, reserved_mib: int = RESERVED_MIB) -> SimulatedGpu:
    # No ECC and no row remapping, as GeForce cards have none.
    return SimulatedGpu(
        uuid=uuid,
        total_mib=total_mib,
        name=name,
        capability="8.6",
        reserved_mib=reserved_mib,
        ecc_uncorrected=None,
        remapped=None,
    )


SMALL_GPUS = (
    _geforce("GPU-1", 8192, "NVIDIA GeForce RTX 3070"),
    _geforce("GPU-2", 8192, "NVIDIA GeForce RTX 3070"),
)
LARGE_GPU = _geforce("GPU-3", 24576, "NVIDIA GeForce RTX 3090", LARGE_RESERVED_MIB)
DEFAULT_GPUS = (*SMALL_GPUS, LARGE_GPU)


@dataclass(frozen=True)
class SimulatedHost:
    """Everything lies below `folder`; a host that was left behind there is taken over."""

    folder: Path = DEFAULT_FOLDER

    @property
    def gpus(self) -> Path:
        """The folder of the GPUs: the hook's, the library's and the state's."""
        return self.folder / "gpus"

    @property
    def library(self) -> Path:
        """The folder with the stand-in for NVIDIA's library and its state, to be mounted as a whole."""
        return self.gpus / LIBRARY_FOLDER

    @property
    def engine(self) -> SimulatedEngine:
        """The engine that runs the stages."""
        return SimulatedEngine(self.folder / "engine", self.gpus)

    @property
    def nvml(self) -> NvmlStateFile:
        """The GPUs' state, for what has no word below."""
        return NvmlStateFile(self.library)

    @property
    def is_up(self) -> bool:
        """Whether its engine answers and its driver keeps account."""
        return self.engine.answers() and bool(_processes(DRIVER_MODULE, str(self.gpus)))

    def start(self, gpus: tuple[SimulatedGpu, ...] = DEFAULT_GPUS) -> None:
        """Leave with a host that has these GPUs, all well, and every stage's image. Earlier grants are forgotten.

        Raises:
            ConsoleError: it cannot be had on this machine.
        """
        with step("start the simulated GPU host"):
            build_stub(self.library)
            self._stop_driver()
            well = NvmlState(gpus=gpus)
            self._well.write_text(well.model_dump_json())
            self.nvml.write(well)
            mend_driver(self.gpus)
            self.engine.start()
            (self.gpus / GRANTS_FILE).unlink(missing_ok=True)
            self._start_driver()
        provide_images(self.engine, self.folder)

    def stop(self) -> None:
        """End all of it, the containers too. What is cached stays."""
        self.engine.stop()
        self._stop_driver()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def grants(self) -> list[GpuGrant]:
        """Which containers were handed which GPUs, the earliest first."""
        return read_grants(self.gpus)

    def lose(self, uuid: str) -> None:
        """The GPU fell off the bus."""
        self._change(uuid, lost=True)

    def take(self, uuid: str, mib: int) -> None:
        """A program that is none of ours holds VRAM."""
        self._change(uuid, other_mib=mib)

    def heat(self, uuid: str) -> None:
        """The GPU is too hot and slows down."""
        self._change(uuid, slowdowns=HW_THERMAL_SLOWDOWN, temperature_c=HOT_C)

    def raise_xid(self, uuid: str, xid: int) -> None:
        """The driver reports an error of the GPU, once."""
        self.nvml.raise_xid(uuid, xid)

    def mismatch(self) -> None:
        """The driver's libraries were updated and its module was not loaded anew."""
        self.nvml.change(init_code=MISMATCH_CODE, library_version=NEWER_LIBRARY)
        break_driver(self.gpus, DRIVER_MISMATCH)

    def unload(self) -> None:
        """The driver's module is not loaded."""
        self.nvml.change(init_code=NOT_LOADED_CODE)
        break_driver(self.gpus, DRIVER_NOT_LOADED)

    def hang(self) -> None:
        """Every call of the library hangs, until `heal`."""
        self.nvml.change(delays_ms={EVERY_FUNCTION: HANGS_MS})

    def heal(self) -> None:
        """All is as it was when the host started. Errors that were reported stay so, as does what containers hold."""
        well = NvmlState.model_validate_json(self._well.read_text())
        now = {gpu.uuid: gpu for gpu in self.nvml.read().gpus}
        gpus = tuple(gpu.model_copy(update={"xids": now[gpu.uuid].xids}) for gpu in well.gpus)
        self.nvml.write(well.model_copy(update={"gpus": gpus}))
        mend_driver(self.gpus)

    @property
    def _well(self) -> Path:
        return self.gpus / "well.json"

    def _change(self, uuid: str, **values: Any) -> None:
        self.nvml.change_gpu(uuid, **values)

    def _start_driver(self) -> None:
        with (self.gpus / "driver.log").open("wb") as log:
            subprocess.Popen(
                [sys.executable, "-m", DRIVER_MODULE, str(self.gpus)],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _stop_driver(self) -> None:
        deadline_s = time.monotonic() + DRIVER_STOP_S
        while processes := _processes(DRIVER_MODULE, str(self.gpus)):
            number = signal.SIGTERM if time.monotonic() < deadline_s else signal.SIGKILL
            for process in processes:
                os.kill(process, number)
            time.sleep(0.05)


@contextmanager
def spare_host() -> Iterator[SimulatedHost]:
    """A host for the tests of one process: another process that tests at the same time has another.

    Raises:
        ConsoleError: it cannot be had on this machine.
    """
    for number in range(1, MOST_TEST_HOSTS + 1):
        folder = TEST_HOSTS / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "in-use.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            with SimulatedHost(folder) as host:
                yield host
            return
    raise ConsoleError(
        f"one of the hosts in {TEST_HOSTS} must be free: all {MOST_TEST_HOSTS} are in use; end the tests that use them"
    )


def _processes(*arguments: str) -> list[int]:
    """Processes that were started with these as their last arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text().rstrip("\0").split("\0")
        except OSError:
            continue
        if tuple(command[-len(arguments) :]) == arguments:
            found.append(int(process.name))
    return found
