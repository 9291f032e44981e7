"""Stage `media.extract`: the main sound track as mono FLAC, and its loudness, in one decode."""

import importlib
from collections.abc import Mapping

from media_stage import loudness
from media_stage.ffmpeg_commands import extract_sound
from media_stage.flac import count_samples
from media_stage.media_file import open_media
from media_stage.tool import Limits, ToolRun, run_tool
from stage_contract.errors import ItemRejected
from stage_contract.models import ModelRef
from stage_contract.outputs import AUDIO_FILE, EXTRACT_FILE, PROBE_FILE, AudioStream, ExtractOutput, ProbeOutput
from stage_contract.parameters import ExtractParameters
from stage_contract.phases import PhaseRecorder
from stage_contract.request import StageRequest
from stage_contract.vocabulary import Phase, Reason, Stage
from stage_contract.workspace import ItemWorkspace

MAX_SOUND_S = 86_400.0
"""24 h of 16 kHz mono are at most 2.8 GB."""

ALLOWANCE_S = 300
"""Time that even the shortest item gets. Beyond it, slower than real time is slower than any sound decodes."""


class ExtractWorker:
    """Decodes the sound track that probe listed first. What cannot be decoded of it is left out."""

    stage = Stage.EXTRACT
    version = "1"
    model_roles: tuple[str, ...] = ()

    def setup(self, request: StageRequest, models: Mapping[str, ModelRef], phases: PhaseRecorder) -> None:
        """Load ffmpeg-python."""
        self._parameters = ExtractParameters.model_validate(request.parameters)
        with phases.measure(Phase.IMPORT):
            importlib.import_module("ffmpeg")

    def release(self) -> None:
        """Nothing to give back: no device."""

    def process(self, workspace: ItemWorkspace, phases: PhaseRecorder) -> None:
        """Extract one file's sound.

        Raises:
            ItemRejected: it has no sound, none that can be decoded, or more than 24 h.
            TransientFailure: the storage takes too long, or the disk is full.
        """
        probe = ProbeOutput.model_validate_json(workspace.input_file(Stage.PROBE, PROBE_FILE).read_bytes())
        with phases.measure(Phase.EXTRACT, workspace.item.asset_id) as counters:
            output = self._extract(workspace, probe)
            counters["audio_s"] = output.duration_s
            workspace.keep(AUDIO_FILE)
        workspace.write_json(EXTRACT_FILE, output)

    def _extract(self, workspace: ItemWorkspace, probe: ProbeOutput) -> ExtractOutput:
        if not probe.audio:
            raise ItemRejected(Reason.NO_AUDIO, "sound can only be taken from a sound track: the file has none")
        track = probe.audio[0]
        path, rate_hz = workspace.new_file(AUDIO_FILE), self._parameters.sample_rate_hz
        limits = Limits(ALLOWANCE_S + int(probe.duration_s), ALLOWANCE_S + 4 * probe.duration_s, loudness.TAIL_BYTES)
        with open_media(workspace) as media:
            command = extract_sound(media, probe.container, track.index, rate_hz, MAX_SOUND_S + 1, path)
            run = run_tool(command, media, limits)
        duration_s = count_samples(path) / rate_hz
        _check_sound(duration_s, track, run)
        measured = loudness.parse_loudness(run.stdout)
        return ExtractOutput(
            audio_file=AUDIO_FILE,
            stream_index=track.index,
            sample_rate_hz=rate_hz,
            duration_s=duration_s,
            integrated_lufs=measured.integrated_lufs,
            loudness_range_lu=measured.loudness_range_lu,
            true_peak_dbtp=measured.true_peak_dbtp,
        )


def _check_sound(duration_s: float, track: AudioStream, run: ToolRun) -> None:
    if duration_s > MAX_SOUND_S:
        raise ItemRejected(
            Reason.TOO_LARGE,
            f"sound must not be longer than {MAX_SOUND_S:.0f} s: track {track.index} goes on beyond that; cut the file",
        )
    if duration_s > 0:
        return
    if "Decoder" in run.stderr and "not found" in run.stderr:
        raise ItemRejected(
            Reason.UNSUPPORTED,
            f"sound must be in a codec that ffmpeg decodes: track {track.index} is {track.codec}; convert it",
        )
    if not run.stderr.strip():
        raise ItemRejected(
            Reason.NO_AUDIO,
            f"sound can only be taken from a sound track with content: track {track.index} ({track.codec}) is empty",
        )
    raise ItemRejected(
        Reason.CORRUPT,
        f"some of the sound must be decodable: nothing of track {track.index} ({track.codec}) is, ffmpeg says "
        f"{run.complaint!r}; copy the file again from its origin",
    )
