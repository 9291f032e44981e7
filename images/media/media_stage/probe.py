"""Stage `media.probe`: says what a file is, or why it cannot be processed."""

from collections.abc import Mapping

from media_stage import content, ffmpeg_commands, ffprobe
from media_stage.description import (
    CLOCKLESS_DEMUXERS,
    Tracks,
    check_duration,
    check_sample,
    choose_tracks,
    describe,
    explain_failure,
    parse_progress,
)
from media_stage.media_file import MediaFile, open_media
from media_stage.tool import Limits, ToolRun, run_tool
from stage_contract.errors import ItemRejected
from stage_contract.models import ModelRef
from stage_contract.outputs import PROBE_FILE, ProbeOutput
from stage_contract.parameters import ProbeParameters
from stage_contract.phases import PhaseRecorder
from stage_contract.request import RequestItem, StageRequest
from stage_contract.result import Rejection
from stage_contract.vocabulary import Phase, Reason, Stage
from stage_contract.workspace import ItemWorkspace

MEASURE_LIMITS = Limits(cpu_s=600, wall_s=7_200, stdout_bytes=65_536)


class ProbeWorker:
    """Looks at headers and a few seconds of packets; decodes nothing. Works for any media ffmpeg knows."""

    stage = Stage.PROBE
    version = "1"
    model_roles: tuple[str, ...] = ()

    def setup(self, request: StageRequest, models: Mapping[str, ModelRef], phases: PhaseRecorder) -> None:
        """Read which pixel formats the image's ffprobe knows."""
        self._parameters = ProbeParameters.model_validate(request.parameters)
        with phases.measure(Phase.IMPORT):
            self._pixel_bits = ffprobe.read_pixel_formats()

    def release(self) -> None:
        """Nothing to give back: no device."""

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        """Describe one file.

        Raises:
            ItemRejected: it is not media that can be processed.
            TransientFailure: the storage takes too long.
        """
        with phases.measure(Phase.PROBE, workspace.item.asset_id) as counters, open_media(workspace) as media:
            output = self._describe(media, workspace.item)
            counters["media_s"] = output.duration_s
            counters["streams"] = len(output.video) + len(output.audio) + output.subtitle_streams
        workspace.write_json(PROBE_FILE, output)

    def _describe(self, media: MediaFile, item: RequestItem) -> ProbeOutput:
        head = media.head()
        refusal = content.refusal(head)
        if refusal:
            raise _rejected(refusal)
        described = ffprobe.describe_file(media)
        if described.exit_code != 0:
            raise _rejected(explain_failure(head, described.stderr, described.complaint))
        report = ffprobe.FileReport.model_validate_json(_whole(described))
        tracks = choose_tracks(report)
        # A file cut off within the sample ends in an error, and in the packets up to there.
        sample = ffprobe.PacketSample.model_validate_json(_whole(ffprobe.sample_packets(media)))
        check_sample(sample, tracks, report.format.duration)
        duration_s = check_duration(self._duration_s(media, report, tracks), self._parameters.max_duration_s)
        # The asset's id is its content's SHA-256: the catalog read the whole file to make it.
        return describe(report, tracks, sample, self._pixel_bits, item.asset_id, item.size_bytes, duration_s)

    def _duration_s(self, media: MediaFile, report: ffprobe.FileReport, tracks: Tracks) -> float | None:
        """As the file states it; live recordings state none, and are read through to know it."""
        clockless = not CLOCKLESS_DEMUXERS.isdisjoint(report.format.format_name.split(","))
        if report.format.duration and not clockless:
            return report.format.duration
        main = [kind[0].index for kind in (tracks.video, tracks.audio) if kind]
        command = ffmpeg_commands.measure_duration(media, main, self._parameters.max_duration_s)
        return parse_progress(run_tool(command, media, MEASURE_LIMITS).stdout)


def _whole(run: ToolRun) -> bytes:
    if run.overflowed:
        raise ItemRejected(
            Reason.UNSUPPORTED,
            f"a file's description must fit {ffprobe.PROBE_LIMITS.stdout_bytes} bytes: ffprobe told more; "
            "see whether it holds thousands of streams",
        )
    if run.exit_code < 0:
        raise ItemRejected(
            Reason.CORRUPT,
            f"a file must not break its reader: ffprobe ended by signal {-run.exit_code}; "
            "copy the file again from its origin",
        )
    return run.stdout


def _rejected(rejection: Rejection) -> ItemRejected:
    return ItemRejected(rejection.reason, rejection.message)
