"""`stage_contract.phases`: every phase is written, however it ends."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stage_contract.errors import Terminated
from stage_contract.phases import DeviceMeter, PhaseRecorder, read_phases
from stage_contract.vocabulary import Phase, PhaseOutcome

ASSET = "ab" * 32


class GpuMeter(DeviceMeter):
    """Stands in for a GPU: work that takes a while to drain, and peaks as told."""

    def __init__(self, *peaks_mib: float, drain_s: float = 0.0, broken: bool = False) -> None:
        self._peaks_mib = list(peaks_mib)
        self._drain_s = drain_s
        self._broken = broken

    def drain(self) -> None:
        time.sleep(self._drain_s)
        if self._broken:
            raise RuntimeError("the device fell off the bus")

    def peak_vram_mib(self) -> float | None:
        if self._broken:
            raise RuntimeError("the device fell off the bus")
        return self._peaks_mib.pop(0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "phases.jsonl"


def test_a_phase_is_written_with_its_counters_and_times(file: Path) -> None:
    before = datetime.now(UTC)
    with PhaseRecorder(file).measure(Phase.DECODE, ASSET) as counters:
        time.sleep(0.05)
        counters["frames"] = 3
    (record,) = read_phases(file)
    assert (record.phase, record.asset_id, record.outcome) == (Phase.DECODE, ASSET, PhaseOutcome.DONE)
    assert record.counters == {"frames": 3}
    assert 0.05 <= record.duration_s == record.span_s < 5
    assert before <= record.started_at <= datetime.now(UTC)
    assert record.started_at.utcoffset() == timedelta(0)
    assert record.peak_rss_mib is not None
    assert record.peak_rss_mib > 1
    assert record.peak_vram_mib is None


def test_a_phase_that_raises_is_written_as_failed(file: Path) -> None:
    def decode() -> None:
        with PhaseRecorder(file).measure(Phase.DECODE) as counters:
            counters["frames"] = 2
            raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        decode()
    (record,) = read_phases(file)
    assert (record.outcome, record.counters) == (PhaseOutcome.FAILED, {"frames": 2})


def test_a_phase_that_is_stopped_is_written_as_interrupted(file: Path) -> None:
    with pytest.raises(Terminated), PhaseRecorder(file).measure(Phase.DECODE):
        raise Terminated
    assert read_phases(file)[0].outcome is PhaseOutcome.INTERRUPTED


def test_the_clock_runs_until_the_device_is_done(file: Path) -> None:
    with PhaseRecorder(file, GpuMeter(512.0, drain_s=0.1)).measure(Phase.CLIP):
        pass
    (record,) = read_phases(file)
    assert record.duration_s >= 0.1
    assert record.peak_vram_mib == 512.0


def test_a_broken_device_fails_the_phase_and_still_writes_it(file: Path) -> None:
    with pytest.raises(RuntimeError, match="bus"), PhaseRecorder(file, GpuMeter(broken=True)).measure(Phase.CLIP):
        pass
    (record,) = read_phases(file)
    assert (record.outcome, record.peak_vram_mib) == (PhaseOutcome.FAILED, None)


def test_a_broken_device_does_not_hide_the_phases_own_error(file: Path) -> None:
    meter = GpuMeter(broken=True)
    with pytest.raises(ValueError, match="ours"), PhaseRecorder(file, meter).measure(Phase.CLIP):
        raise ValueError("ours")


def test_phases_are_added_in_order(file: Path) -> None:
    recorder = PhaseRecorder(file)
    for phase in (Phase.IMPORT, Phase.MODEL_LOAD, Phase.DECODE):
        with recorder.measure(phase):
            pass
    assert [record.phase for record in read_phases(file)] == [Phase.IMPORT, Phase.MODEL_LOAD, Phase.DECODE]


def test_a_torn_last_line_is_left_out(file: Path) -> None:
    with PhaseRecorder(file).measure(Phase.IMPORT):
        pass
    whole = file.read_text()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        file.write_text(whole + whole[:cut])
        assert [record.phase for record in read_phases(file)] == [Phase.IMPORT]


def test_a_torn_line_in_the_middle_costs_no_other(file: Path) -> None:
    recorder = PhaseRecorder(file)
    with recorder.measure(Phase.IMPORT):
        pass
    with file.open("a") as torn:
        torn.write('{"phase": "dec')
    for _ in range(2):
        with recorder.measure(Phase.WRITE):
            pass
    assert [record.phase for record in read_phases(file)] == [Phase.IMPORT, Phase.WRITE]


def test_no_file_means_no_phases(file: Path) -> None:
    assert read_phases(file) == []


def test_turns_add_up_to_one_line(file: Path) -> None:
    with PhaseRecorder(file).accumulate(Phase.DECODE, ASSET) as decode:
        for _ in range(3):
            with decode.turn() as counters:
                counters["frames"] = counters.get("frames", 0) + 2
                time.sleep(0.02)
            time.sleep(0.05)
    (record,) = read_phases(file)
    assert (record.phase, record.asset_id, record.outcome) == (Phase.DECODE, ASSET, PhaseOutcome.DONE)
    assert record.counters == {"frames": 6}
    assert record.duration_s >= 0.06
    assert record.span_s >= record.duration_s + 0.1


def test_two_phases_in_turns_do_not_count_each_others_time(file: Path) -> None:
    recorder = PhaseRecorder(file)
    with recorder.accumulate(Phase.DECODE) as decode, recorder.accumulate(Phase.CLIP) as clip:
        for _ in range(2):
            with decode.turn():
                time.sleep(0.02)
            with clip.turn():
                time.sleep(0.1)
    by_phase = {record.phase: record.duration_s for record in read_phases(file)}
    assert by_phase[Phase.DECODE] < by_phase[Phase.CLIP]


def test_the_peak_is_the_highest_of_all_turns(file: Path) -> None:
    with PhaseRecorder(file, GpuMeter(100.0, 700.0, 300.0)).accumulate(Phase.CLIP) as clip:
        for _ in range(3):
            with clip.turn():
                pass
    assert read_phases(file)[0].peak_vram_mib == 700.0


@pytest.mark.parametrize(
    ("error", "outcome"), [(ValueError("broke"), PhaseOutcome.FAILED), (Terminated(), PhaseOutcome.INTERRUPTED)]
)
def test_a_turn_that_ends_badly_is_written(file: Path, error: BaseException, outcome: PhaseOutcome) -> None:
    def decode() -> None:
        with PhaseRecorder(file).accumulate(Phase.DECODE) as accumulator:
            with accumulator.turn():
                pass
            with accumulator.turn():
                raise error

    with pytest.raises(type(error)):
        decode()
    (record,) = read_phases(file)
    assert record.outcome is outcome


def test_a_phase_without_turns_is_not_written(file: Path) -> None:
    with PhaseRecorder(file).accumulate(Phase.OCR):
        pass
    assert read_phases(file) == []


def test_turns_with_a_meter_of_their_own_do_not_wait_for_the_device(file: Path) -> None:
    recorder = PhaseRecorder(file, GpuMeter(broken=True))
    with recorder.accumulate(Phase.DECODE, ASSET, DeviceMeter()) as phase, phase.turn() as counters:
        counters["frames"] = 1
    (record,) = read_phases(file)
    assert (record.outcome, record.peak_vram_mib) == (PhaseOutcome.DONE, None)
