"""What came of a backfill, in words: for a terminal, and in short for a note."""

from datetime import datetime, tzinfo

from operators.backfill.held_back import HeldBack
from operators.backfill.report import BackfillReport, FailedAsset, PausedTime, Truth
from operators.report import clock

TOO_LONG_REMEDY = "process it by hand with `make process`, or make NIGHTREEL_NIGHT_HOURS longer"
NO_NIGHTS = "; none are set: NIGHTREEL_NIGHT_DAYS is empty"


def report_lines(report: BackfillReport, zone: tzinfo) -> list[str]:
    """The whole report, a line each."""
    lines = [*summary_lines(report, zone), *_work_lines(report)]
    if report.truth:
        lines.append(_truth_line(report.truth))
    lines += [_pause_line(pause, zone) for pause in report.pauses]
    lines += [
        f"failed: {asset.name} ({_fate(asset, zone)}): {asset.reason or 'no reason was recorded'}"
        for asset in report.failed_assets
    ]
    lines += [
        f"too long for {_night(report)}: {asset.name}, up to {clock(asset.longest_s)}" for asset in report.too_long
    ]
    return lines


def summary_lines(report: BackfillReport, zone: tzinfo) -> list[str]:
    """What fits a note: how much ended how, how fast, how much is left, and what kept more from being done."""
    pace = f", {report.media_per_hour:.1f} h of media per hour" if report.media_per_hour is not None else ""
    lines = [
        f"{report.done} done, {report.rejected} rejected, {report.failed} failed, {report.left} left, "
        f"in {counted(report.shards, 'run')}",
        f"{report.media_done_s / 3600:.1f} h of media{pace}; {report.media_left_s / 3600:.1f} h left",
        _nights_line(report),
    ]
    if report.started_at is None:
        lines.append(f"nothing was launched: {_why_not_launched(report, zone)}")
    if report.pauses:
        paused_s = sum(pause.lasted_s for pause in report.pauses)
        lines.append(f"paused {counted(len(report.pauses), 'time')}, for {clock(paused_s)} in all")
    if report.fruitless:
        lines.append(
            f"runs that came to none of their files: {report.fruitless}; nothing was launched for up to a quarter of "
            "an hour after them; read their logs"
        )
    if report.under_way:
        lines.append(
            f"{counted(report.under_way, 'asset')} in runs that have not ended; the next backfill goes on there"
        )
    if report.held_back:
        lines.append(held_back_line(report.held_back, zone))
    if report.too_long:
        lines.append(f"{counted(len(report.too_long), 'asset')} too long for {_night(report)}; {TOO_LONG_REMEDY}")
    return lines


def held_back_line(held: HeldBack, zone: tzinfo) -> str:
    """How many assets are left alone since they failed, and how to have them tried again."""
    waiting = (
        f"{held.waiting} waiting, the first until {local(held.first_ready_at, zone)}" if held.first_ready_at else ""
    )
    parked = f"{held.parked} parked" if held.parked else ""
    return (
        f"failed before: {', '.join(filter(None, [waiting, parked]))}; when the cause is mended, "
        "`make backfill FOLDER=… ARGS=--retry-parked` takes them, as does “retry parked” in the form"
    )


def hours_long(duration_s: float) -> str:
    """`8 h`, `7.5 h`."""
    return f"{duration_s / 3600:.3g} h"


def counted(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def local(instant: datetime, zone: tzinfo) -> str:
    """To the minute, as clocks in the zone show it."""
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M}"


def _nights_line(report: BackfillReport) -> str:
    if report.nights_left == 0:
        told = "nothing is left but what failed" if report.held_back else "nothing is left"
        return told if report.is_plan_complete else f"{told} of what is known; the scan has not come to its end"
    least = "" if report.is_plan_complete else "at least, since the scan has not come to its end: "
    if report.nights_left is None:
        is_slow = report.done + report.rejected == 0
        why = "nothing was done to tell the pace by" if is_slow else "no night's length was known"
        return f"how many nights remain is unknown: {why}"
    of_length = f" of {hours_long(report.night_s)}" if report.night_s else ""
    nights = counted(report.nights_left, "more night")
    return f"{least}{nights}{of_length} at this pace{'' if report.are_nights_set else NO_NIGHTS}"


def _why_not_launched(report: BackfillReport, zone: tzinfo) -> str:
    asked_for = report.shards + report.withdrawn
    if not report.left:
        return "nothing to do was found" + ("" if report.is_plan_complete else ", and the scan did not come to its end")
    if report.is_window_too_short and report.closes_at:
        return f"no run was sure enough to end by {local(report.closes_at, zone)}; the window is too short"
    if report.pauses:
        return "backfills were paused"
    if asked_for:
        return (
            f"{counted(asked_for, 'run')} asked for, and Airflow started none: is process_media paused there? The log "
            "of launch_shards says more"
        )
    return "launch_shards did not come to it; its log says why"


def _night(report: BackfillReport) -> str:
    return f"a night of {hours_long(report.night_s)}" if report.night_s else "the window"


def _work_lines(report: BackfillReport) -> list[str]:
    return [
        f"{work.stage} on {'the GPU' if work.variant == 'cuda' else 'the CPU'}: {counted(work.assets, 'asset')}, "
        f"{clock(work.media_s)} of media in {clock(work.work_s)} of work"
        for work in report.work
    ]


def _truth_line(truth: Truth) -> str:
    return (
        f"runs took {clock(truth.took_s)} where {clock(truth.expected_s)} were expected: half of them more than "
        f"{truth.ratio:.2f} times that; {truth.within_longest:.0%} no more than the longest expected"
    )


def _pause_line(pause: PausedTime, zone: tzinfo) -> str:
    until = f"until {local(pause.resumed_at, zone)}" if pause.resumed_at else "and still; `make resume` ends it"
    return f"paused by {pause.paused_by} from {local(pause.paused_at, zone)} {until}: {pause.reason}"


def _fate(asset: FailedAsset, zone: tzinfo) -> str:
    if asset.is_parked:
        return f"parked after {counted(asset.failures, 'failure')}"
    return f"tried again from {local(asset.not_before, zone)} on" if asset.not_before else "asked for anew"
