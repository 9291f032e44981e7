"""What a person sees: the last words of a command, and errors without tracebacks."""

import subprocess
import sys
from pathlib import Path

import pytest

from console import terminal
from console.terminal import REPOSITORY, ConsoleError, guard, last_line, progress, run, step, tail


def test_a_line_redrawn_in_place_is_read_as_its_last_state_without_colours(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n10 %\r50 %\r\x1b[2K\x1b[1;32m100 %\x1b[0m\n\n")
    assert last_line(log) == "100 %"
    assert tail(log, 3) == ["first", "100 %", ""]


def test_an_empty_log_has_no_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    assert last_line(log) == ""


def test_a_failed_command_tells_its_last_thirty_lines_and_where_the_rest_is(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "count.log"
    with pytest.raises(ConsoleError) as failure:
        run(["sh", "-c", "seq 100; echo [last] >&2; exit 3"], log=log, title="count")
    message = str(failure.value)
    assert "ended with 3" in message
    assert str(log) in message
    assert message.splitlines()[1].strip() == "72"
    assert message.splitlines()[-1].strip() == "[last]"
    assert log.read_text().startswith("1\n2\n")


def test_a_command_that_is_not_installed_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="no-such-program cannot be started"):
        run(["no-such-program"], log=tmp_path / "log", title="try")


def test_the_command_gets_the_environment_and_directory_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(["sh", "-c", "echo $WORD; pwd"], log=log, title="ask", environment={"WORD": "hello"}, directory=tmp_path)
    assert log.read_text().splitlines() == ["hello", str(tmp_path)]


def test_without_a_terminal_progress_is_told_in_plain_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "REPORT_EVERY_S", 0.05)
    with progress("wait", lambda: "[half] done"):
        subprocess.run(["sleep", "0.3"], check=True)
    lines = capsys.readouterr().out.splitlines()
    assert 2 <= len(lines) <= 6
    assert all("[half] done" in line for line in lines)


def test_a_step_tells_its_end_and_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with step("one [1]"):
        pass
    with pytest.raises(ConsoleError), step("two"):
        raise ConsoleError("no")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "→ one [1]"
    assert lines[1].startswith("✓ one [1]  0.")
    assert lines[3].startswith("✗ two  0.")


@pytest.mark.parametrize(
    ("error", "code"), [("ConsoleError('the rule')", 1), ("OSError(28, 'the rule')", 1), ("KeyboardInterrupt", 130)]
)
def test_an_error_ends_the_program_with_a_sentence_and_no_traceback(error: str, code: int) -> None:
    program = (
        "import sys\nfrom console.terminal import ConsoleError, guard\n"
        f"def main():\n    raise {error}\nsys.exit(guard(main))\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert told.returncode == code
    assert "Traceback" not in told.stderr
    assert "the rule" in told.stderr or code == 130


def test_a_program_that_ends_well_exits_with_zero() -> None:
    assert guard(lambda: None) == 0
