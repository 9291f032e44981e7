from datetime import UTC, datetime

import pytest

from gpu_agent.xids import KEPT_PER_GPU, XidLog, XidMessage, severity_of
from stage_contract.gpu_health import XidSeverity

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("severity", "numbers"),
    [
        (XidSeverity.APPLICATION, (13, 31, 43, 45)),
        (XidSeverity.DEVICE, (48, 64, 74, 79, 95, 109, 119, 120, 140, 143)),
        (XidSeverity.WATCH, (63, 92, 94, 1, 8, 154, 9999)),
    ],
)
def test_an_xid_tells_whose_fault_it_is_and_an_unknown_one_is_watched(
    severity: XidSeverity, numbers: tuple[int, ...]
) -> None:
    assert {severity_of(number) for number in numbers} == {severity}


def test_the_last_hundred_of_each_gpu_are_kept_and_all_are_counted() -> None:
    log = XidLog()
    for number in range(KEPT_PER_GPU + 5):
        log.add(XidMessage(gpu_uuid="GPU-1", xid=31 if number % 2 else 79), NOW, now_s=float(number))
    log.add(XidMessage(gpu_uuid="GPU-2", xid=63), NOW, now_s=0.0)
    records = log.records(now_s=200.0)
    assert len([record for record in records if record.gpu_uuid == "GPU-1"]) == KEPT_PER_GPU
    assert records[0].age_s == 195.0
    assert log.counts() == {
        ("GPU-1", XidSeverity.DEVICE): 53,
        ("GPU-1", XidSeverity.APPLICATION): 52,
        ("GPU-2", XidSeverity.WATCH): 1,
    }
