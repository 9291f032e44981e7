"""`media_stage.tool`: what a hostile or a slow file can cost. The tools are real processes."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from media_stage.media_file import MediaFile
from media_stage.tool import Limits, ToolRun, run_tool
from stage_contract.errors import ItemRejected, TransientFailure
from stage_contract.vocabulary import Reason

AMPLE = Limits(cpu_s=30, wall_s=60, stdout_bytes=1000)


@pytest.fixture
def media(tmp_path: Path) -> Iterator[MediaFile]:
    file = tmp_path / "-i %03d\n.mp4"
    file.write_bytes(b"content")
    descriptor = os.open(file, os.O_RDONLY)
    yield MediaFile(descriptor)
    os.close(descriptor)


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_the_tool_reads_the_file_without_learning_its_name(media: MediaFile) -> None:
    path = media.url.removeprefix("file:")
    assert run_tool(["cat", path], media, AMPLE).stdout == b"content"


def test_standard_input_is_closed(media: MediaFile) -> None:
    assert run_tool(python("import sys; print(len(sys.stdin.read()))"), media, AMPLE).stdout == b"0\n"


def test_a_file_that_burns_processor_time_is_rejected(media: MediaFile) -> None:
    with pytest.raises(ItemRejected) as caught:
        run_tool(python("while True: pass"), media, Limits(cpu_s=1, wall_s=60, stdout_bytes=10))
    assert caught.value.reason is Reason.CORRUPT


def test_a_tool_that_ends_in_good_order_at_its_processor_limit_is_rejected_too(media: MediaFile) -> None:
    program = "import signal, sys\nsignal.signal(signal.SIGXCPU, lambda *_: sys.exit(0))\nwhile True: pass"
    with pytest.raises(ItemRejected):
        run_tool(python(program), media, Limits(cpu_s=1, wall_s=60, stdout_bytes=10))


def test_a_tool_that_only_waits_is_a_transient_failure(media: MediaFile) -> None:
    started_s = time.monotonic()
    with pytest.raises(TransientFailure, match="storage"):
        run_tool(["sleep", "60"], media, Limits(cpu_s=30, wall_s=0.3, stdout_bytes=10))
    assert time.monotonic() - started_s < 10


def test_only_the_end_of_a_long_output_is_kept(media: MediaFile) -> None:
    program = "import sys\nfor n in range(200000): print(n)\nprint('x' * 50000, 'the end', file=sys.stderr)"
    run = run_tool(python(program), media, AMPLE)
    assert run.overflowed
    assert len(run.stdout) == 1000
    assert run.stdout.endswith(b"199999\n")
    assert len(run.stderr) <= 16_384
    assert run.stderr.endswith("the end\n")


def test_a_tool_killed_for_memory_is_a_rejection(media: MediaFile) -> None:
    with pytest.raises(ItemRejected) as caught:
        run_tool(python("import os; os.kill(os.getpid(), 9)"), media, AMPLE)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_full_disk_is_a_transient_failure(media: MediaFile) -> None:
    with pytest.raises(TransientFailure, match="room"):
        run_tool(["dd", "if=/dev/zero", "of=/dev/full", "bs=1", "count=1"], media, AMPLE)


def test_a_storage_error_is_checked_against_the_storage() -> None:
    write_only = os.open("/dev/null", os.O_WRONLY)  # a descriptor that the system refuses to read
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            run_tool(["sh", "-c", "echo 'Input/output error' >&2"], MediaFile(write_only), AMPLE)
    finally:
        os.close(write_only)


def test_a_complaint_of_input_output_in_a_readable_file_is_the_files_fault(media: MediaFile) -> None:
    assert run_tool(["sh", "-c", "echo 'Input/output error' >&2; exit 1"], media, AMPLE).exit_code == 1


def test_a_complaint_is_one_short_printable_line() -> None:
    stderr = "[h264 @ 0x55d0] first\n[mov @ 0x55d0] file:/proc/self/fd/7: bad \x1b[31mdata" + "!" * 500 + "\n\n"
    complaint = ToolRun(1, b"", False, stderr + "    Last message repeated 3 times\n").complaint
    assert complaint.startswith("bad  [31mdata!!!")
    assert len(complaint) == 200
    assert ToolRun(1, b"", False, "").complaint == ""
