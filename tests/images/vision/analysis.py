"""Containers that analyse clips, and programs inside the vision image that make clips and models."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from console.terminal import REPOSITORY
from operators.routing import image_for
from stage_contract.outputs import FRAMES_FILE, PROBE_FILE, VISION_FILE, Frame, VisionOutput
from stage_contract.vocabulary import Stage, Variant
from tests.stage_container import Finished, Source, StageBench, read_only, run_program, writable

IMAGE = image_for(Stage.ANALYZE, Variant.CPU)
TESTS = Path(__file__).parent
CONVERTERS = REPOSITORY / "images" / "vision" / "converters"


def run_script(name: str, folder: Path, image: str = IMAGE) -> str:
    """Run a script of this folder inside an image with `folder` as its argument; returns what it printed."""
    volumes = read_only(TESTS, "/tests"), read_only(CONVERTERS, "/opt/nightreel/converters"), writable(folder, "/made")
    ended = run_program(image, ["python", f"/tests/{name}", "/made"], *volumes)
    assert ended.exit_code == 0, ended.stderr
    return ended.stdout


def analyse(
    bench: StageBench,
    *clips: str,
    variant: Variant = Variant.CPU,
    compute_type: str | None = None,
    models: Path | None = None,
    program: str | None = None,
    **parameters: JsonValue,
) -> Finished:
    """Analyse clips in one container. `models` replaces the image's, `program` (of this folder) its program."""
    sources = [_probed(bench, clip) for clip in clips]
    return bench.run(
        bench.request(Stage.ANALYZE, sources, parameters, variant, compute_type),
        models,
        TESTS / program if program else None,
    )


def vision(done: Finished, clip: str) -> VisionOutput:
    """What `vision.json` says of a clip."""
    return done.output(clip, VISION_FILE, VisionOutput)


def frames(done: Finished, clip: str) -> Sequence[Frame]:
    """The sampled frames of a clip."""
    lines = (done.directory(clip) / FRAMES_FILE).read_text(encoding="utf-8").splitlines()
    return [Frame.model_validate_json(line) for line in lines]


def _probed(bench: StageBench, clip: str) -> Source:
    source = bench.source(clip)
    made_up, file = bench.place(source.asset_id, Stage.PROBE, PROBE_FILE)
    file.write_text((bench.archive / f"{clip}.probe.json").read_text())
    return replace(source, inputs={Stage.PROBE: made_up})
