"""Two runs of a stage side by side, as a Markdown table."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from console.demo import word_error_rate
from operators.benchmark.agreement import compare_frames
from stage_contract.outputs import FRAMES_FILE, TRANSCRIPT_FILE, Frame, Transcript
from stage_contract.phases import PhaseRecord
from stage_contract.vocabulary import ExitCode, Phase, PhaseOutcome, Stage, Variant
from tests.bench.stage_process import Measured

PROOF_COUNTER = "proof_error"
HEADINGS = {Stage.TRANSCRIBE: "audio.transcribe", Stage.ANALYZE: "vision.analyze"}


def compare(first: Measured, second: Measured) -> list[str]:
    """Lines of Markdown: phases with ratios, peaks, the devices' proofs, and how far the outputs agree."""
    lines = [f"### {HEADINGS[first.stage]}: {first.setting.name} and {second.setting.name}", ""]
    failed = [one for one in (first, second) if one.outcome.exit_code != ExitCode.DONE]
    if failed:
        return [*lines, *(f"- {one.setting.name} failed: {one.outcome.message}" for one in failed)]
    lines += [*_phase_table(first, second), ""]
    lines += [f"- Device proof, {one.setting.name}: {_proof(one)}." for one in (first, second)]
    agreement = _transcripts if first.stage is Stage.TRANSCRIBE else _pictures
    return [*lines, *(f"- {line}" for line in agreement(first, second))]


def _phase_table(first: Measured, second: Measured) -> list[str]:
    seconds = [_phase_seconds(one.phases) for one in (first, second)]
    rows = [(f"`{phase}`, s", seconds[0][phase], seconds[1].get(phase, 0.0)) for phase in seconds[0]]
    rows.append(("all phases, s", sum(seconds[0].values()), sum(seconds[1].values())))
    for told, peak in (("peak memory, MiB", "peak_rss_mib"), ("peak VRAM that torch took, MiB", "peak_vram_mib")):
        peaks = _peak(first.phases, peak), _peak(second.phases, peak)
        if any(peaks):
            rows.append((told, *peaks))
    table = [f"| | {first.setting.name} | {second.setting.name} | ratio |", "|---|---|---|---|"]
    return table + [f"| {told} | {_number(a)} | {_number(b)} | {_ratio(a, b)} |" for told, a, b in rows]


def _phase_seconds(records: Sequence[PhaseRecord]) -> dict[Phase, float]:
    """Time worked in each phase over all items, in the order in which they first ended."""
    seconds: dict[Phase, float] = {}
    for record in records:
        if record.phase is not Phase.CONTAINER_START and record.outcome is PhaseOutcome.DONE:
            seconds[record.phase] = seconds.get(record.phase, 0.0) + record.duration_s
    return seconds


def _peak(records: Iterable[PhaseRecord], name: str) -> float:
    return max((getattr(record, name) or 0.0 for record in records), default=0.0)


def _proof(one: Measured) -> str:
    if one.setting.variant is Variant.CPU:
        return "not asked of the CPU"
    errors = [record.counters[PROOF_COUNTER] for record in one.phases if PROOF_COUNTER in record.counters]
    return f"passed, {errors[0]:.2g} off the CPU's numbers" if errors else "missing"


def _transcripts(first: Measured, second: Measured) -> list[str]:
    texts = [{name: _text(folder) for name, folder in one.directories.items()} for one in (first, second)]
    everything = [" ".join(text.values()) for text in texts]
    rate = word_error_rate(everything[0], everything[1]) if everything[0] else float(bool(everything[1]))
    lines = [f"Word error rate of {second.setting.name} against {first.setting.name}: {rate:.4f}."]
    for name, known in _known_texts(first).items():
        rates = [word_error_rate(known, text[name]) for text in texts]
        told = ", ".join(f"{one.setting.name} {r:.4f}" for one, r in zip((first, second), rates, strict=True))
        lines.append(f"Word error rate against the known text of {name}: {told}.")
    return lines


def _text(folder: Path) -> str:
    transcript = Transcript.model_validate_json((folder / TRANSCRIPT_FILE).read_bytes())
    return " ".join(segment.text for segment in transcript.segments)


def _known_texts(one: Measured) -> dict[str, str]:
    """What is said in a file, where a text of the same name lies beside it."""
    beside = {medium.path.name: medium.path.with_suffix(".txt") for medium in one.media}
    return {name: path.read_text(encoding="utf-8") for name, path in beside.items() if path.exists()}


def _pictures(first: Measured, second: Measured) -> list[str]:
    lines = []
    for name, folder in first.directories.items():
        told = compare_frames(_frames(folder), _frames(second.directories[name]))
        lines.append(
            f"{name}, {told.frames} frames: lowest cosine of CLIP vectors {told.lowest_cosine:.5f}; "
            f"{told.matched:.1%} of {told.boxes} boxes have a partner, mean IoU {told.mean_iou:.3f}."
        )
    return lines


def _frames(folder: Path) -> list[Frame]:
    lines = (folder / FRAMES_FILE).read_text(encoding="utf-8").splitlines()
    return [Frame.model_validate_json(line) for line in lines]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def _ratio(first: float, second: float) -> str:
    return f"{first / second:.2f}" if second else ""
