"""`vision.analyze` in the real image, under the restrictions it has in production."""

import json
import struct
from pathlib import Path

import pytest

from stage_contract.outputs import CONTACT_SHEET_FILE, FRAMES_FILE, Frame
from stage_contract.vocabulary import ExitCode, ItemOutcome, Phase, PhaseOutcome, Reason, ResultStatus, Variant
from tests.images.vision.analysis import analyse, frames, run_script, vision
from tests.images.vision.reference import reference_image
from tests.stage_container import Finished, StageBench

TEN_BIT = "-ten bit,'ü'.mkv"


def labels(frame: Frame) -> list[str]:
    return [detection.label for detection in frame.detections]


def jpeg_size(path: Path) -> tuple[int, int]:
    """Width and height, px, from a JPEG's start-of-frame segment."""
    content = path.read_bytes()
    at = 2
    while content[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    height_px, width_px = struct.unpack(">HH", content[at + 5 : at + 9])
    return width_px, height_px


def test_one_broken_clip_does_not_keep_the_others_from_being_analysed(analysed: Finished) -> None:
    assert analysed.exit_code == ExitCode.DONE, analysed.log
    fates = [item.outcome for item in analysed.outcome.items]
    assert fates.count(ItemOutcome.DONE) == 7
    assert fates.count(ItemOutcome.REJECTED) == 2


def test_people_and_a_bus_are_found_where_they_are(analysed: Finished) -> None:
    first = frames(analysed, "scenes.mp4")[0]
    assert labels(first).count("person") >= 3
    (bus,) = [d.box for d in first.detections if d.label == "bus"]
    # In the photograph, 810x1080, the bus spans 20..800 by 230..750; here it is scaled by 4/9 and moved right by 140.
    assert bus.x_px == pytest.approx(149, abs=8)
    assert bus.y_px == pytest.approx(102, abs=8)
    assert bus.width_px == pytest.approx(347, abs=16)
    assert bus.height_px == pytest.approx(231, abs=16)


def test_shots_begin_at_the_cuts(analysed: Finished) -> None:
    shots = vision(analysed, "scenes.mp4").shots
    assert [(shot.start_s, shot.end_s) for shot in shots] == [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0)]
    assert [frame.shot_index for frame in frames(analysed, "scenes.mp4")] == [0, 0, 1, 1, 2, 2]


def test_text_on_the_screen_is_read(analysed: Finished) -> None:
    last = frames(analysed, "scenes.mp4")[-1]
    (line,) = last.text
    assert line.text.replace(" ", "") == "NIGHTREEL2026"
    assert 80 < line.box.x_px < 100
    assert 180 < line.box.y_px < 225


def test_frames_are_sampled_once_a_second(analysed: Finished) -> None:
    sampled = frames(analysed, "scenes.mp4")
    assert [frame.time_s for frame in sampled] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert [frame.index for frame in sampled] == list(range(6))
    assert vision(analysed, "scenes.mp4").frame_count == 6


def test_a_picture_that_stands_for_seconds_is_taken_once(analysed: Finished) -> None:
    assert [frame.time_s for frame in frames(analysed, "slides.mkv")] == [0.0, 1.0, 5.0]
    assert [shot.start_s for shot in vision(analysed, "slides.mkv").shots] == [0.0, 1.0, 5.0]


def test_a_turned_clip_is_seen_upright(analysed: Finished) -> None:
    upright, turned = frames(analysed, "scenes.mp4")[0], frames(analysed, "rotated.mp4")[0]
    (as_shot,) = [d.box for d in upright.detections if d.label == "bus"]
    (as_shown,) = [d.box for d in turned.detections if d.label == "bus"]
    assert as_shown.x_px == pytest.approx(as_shot.x_px, abs=10)
    assert as_shown.y_px == pytest.approx(as_shot.y_px, abs=10)
    width_px, height_px = jpeg_size(analysed.directory("rotated.mp4") / CONTACT_SHEET_FILE)
    assert width_px > height_px


def test_ten_bit_video_under_an_awkward_name_keeps_its_colour(analysed: Finished) -> None:
    (frame,) = frames(analysed, TEN_BIT)
    color = frame.colors[0]
    assert color.share == pytest.approx(1.0, abs=0.01)
    found = [int(color.hex[at : at + 2], 16) for at in (1, 3, 5)]
    assert found == pytest.approx([200, 100, 50], abs=4)
    assert frame.contrast < 1


def test_a_sharp_picture_measures_sharper_than_a_flat_one(analysed: Finished) -> None:
    street, page = frames(analysed, "scenes.mp4")[0], frames(analysed, "scenes.mp4")[-1]
    (plain,) = frames(analysed, TEN_BIT)
    assert page.brightness > street.brightness
    assert street.sharpness > 100 * max(plain.sharpness, 0.1)


def test_a_file_without_a_picture_is_rejected(analysed: Finished) -> None:
    result = analysed.result("sound.flac")
    assert result.status is ResultStatus.REJECTED
    assert result.rejection
    assert result.rejection.reason is Reason.NO_VIDEO


def test_a_file_that_cannot_be_decoded_is_rejected_and_leaves_nothing_else(analysed: Finished) -> None:
    result = analysed.result("hollow.mkv")
    assert result.rejection
    assert result.rejection.reason is Reason.CORRUPT
    assert [path.name for path in analysed.directory("hollow.mkv").iterdir()] == ["result.json"]


def test_what_lies_beyond_the_damage_is_analysed(analysed: Finished) -> None:
    assert analysed.phase(Phase.DECODE, "damaged.mkv").counters["packets"] < 100
    assert frames(analysed, "damaged.mkv")[-1].time_s >= 3.0


def test_boxes_of_a_large_picture_are_in_its_own_pixels(analysed: Finished) -> None:
    small = frames(analysed, "scenes.mp4")[0]
    (large,) = frames(analysed, "large.png")
    (in_small,) = [d.box for d in small.detections if d.label == "bus"]
    (in_large,) = [d.box for d in large.detections if d.label == "bus"]
    assert in_large.x_px == pytest.approx(6 * in_small.x_px, abs=60)
    assert in_large.width_px == pytest.approx(6 * in_small.width_px, abs=60)


def test_embeddings_are_unit_vectors_that_differ_between_scenes(analysed: Finished) -> None:
    vectors = [frame.embedding for frame in frames(analysed, "scenes.mp4")]
    assert {len(vector) for vector in vectors} == {vision(analysed, "scenes.mp4").embedding_dimensions} == {512}
    assert all(sum(x * x for x in vector) == pytest.approx(1, abs=1e-3) for vector in vectors)
    cosines = [sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors]
    assert cosines[1] > 0.99
    assert cosines[1] > cosines[4]


def test_tags_are_given_only_by_a_trained_clip(analysed: Finished) -> None:
    tagged = any(frame.tags for frame in frames(analysed, "scenes.mp4"))
    assert tagged == vision(analysed, "scenes.mp4").embedding_trained


def test_the_contact_sheet_shows_every_frame_of_a_short_clip(analysed: Finished) -> None:
    width_px, height_px = jpeg_size(analysed.directory("scenes.mp4") / CONTACT_SHEET_FILE)
    assert width_px > 6 * 320
    assert 240 < height_px < 300
    assert analysed.phase(Phase.CONTACT_SHEET, "scenes.mp4").counters == {"images": 6}


def test_every_phase_is_timed_and_counted(analysed: Finished) -> None:
    assert analysed.phase(Phase.IMPORT).duration_s > 0
    assert analysed.phase(Phase.MODEL_LOAD).duration_s > 0
    counters = {
        phase: analysed.phase(phase, "scenes.mp4").counters
        for phase in (Phase.DECODE, Phase.SHOT_DETECTION, Phase.QUALITY, Phase.CLIP, Phase.DETECTION, Phase.OCR)
    }
    decoded = counters[Phase.DECODE]
    assert (decoded["packets"], decoded["damaged_packets"]) == (150, 0)
    assert 6 <= counters[Phase.SHOT_DETECTION]["frames"] <= decoded["frames"] <= 150
    assert counters[Phase.QUALITY] == {"images": 6, "unchanged": counters[Phase.QUALITY]["unchanged"]}
    new = 6 - counters[Phase.QUALITY]["unchanged"]
    assert counters[Phase.CLIP] == {"images": new}
    assert counters[Phase.DETECTION]["images"] == counters[Phase.OCR]["images"] == new
    assert analysed.phase(Phase.WRITE, "scenes.mp4").counters == {"frames": 6}
    failed = {record.phase for record in analysed.phases if record.outcome is PhaseOutcome.FAILED}
    assert failed == {Phase.DECODE}  # of the clip that cannot be decoded


def test_two_runs_write_the_same_frames(analysed: Finished, bench: StageBench) -> None:
    again = analyse(bench, "scenes.mp4")
    first = (analysed.directory("scenes.mp4") / FRAMES_FILE).read_bytes()
    assert (again.directory("scenes.mp4") / FRAMES_FILE).read_bytes() == first


def test_another_compute_type_finds_the_same(analysed: Finished, bench: StageBench) -> None:
    exact = analyse(bench, "scenes.mp4", compute_type="float32", ocr=False)
    assert exact.exit_code == ExitCode.DONE, exact.log
    for ours, theirs in zip(frames(analysed, "scenes.mp4"), frames(exact, "scenes.mp4"), strict=True):
        assert sorted(labels(ours)) == sorted(labels(theirs))
        assert sum(a * b for a, b in zip(ours.embedding, theirs.embedding, strict=True)) > 0.999
        assert not theirs.text
    assert not [record for record in exact.phases if record.phase is Phase.OCR]


def test_the_interval_is_widened_to_keep_to_the_most_frames(bench: StageBench) -> None:
    sparse = analyse(bench, "scenes.mp4", max_frames=2, ocr=False)
    assert vision(sparse, "scenes.mp4").interval_s == 3.0
    assert [frame.time_s for frame in frames(sparse, "scenes.mp4")] == [0.0, 3.0]
    assert len(vision(sparse, "scenes.mp4").shots) == 3


def test_a_clip_with_weights_gives_tags(bench: StageBench, tmp_path: Path) -> None:
    run_script("make_weighted_clip.py", tmp_path, reference_image())
    models = tmp_path / "models"
    weighted = analyse(bench, "scenes.mp4", models=models, max_frames=2, ocr=False)
    assert weighted.exit_code == ExitCode.DONE, weighted.log
    assert vision(weighted, "scenes.mp4").embedding_trained
    tags = [tag for frame in frames(weighted, "scenes.mp4") for tag in frame.tags]
    assert tags
    assert {tag.label for tag in tags} <= set(json.loads((models / "clip" / "labels.json").read_text())["labels"])
    assert all(0.1 <= tag.score <= 1 for tag in tags)


def test_a_published_checkpoint_is_converted_without_loss(tmp_path: Path) -> None:
    printed = run_script("convert_checkpoint.py", tmp_path, reference_image()).splitlines()
    assert float(printed[-1]) < 0.01


def test_a_cpu_build_asked_for_cuda_says_so_and_does_not_fall_back(bench: StageBench) -> None:
    failed = analyse(bench, "scenes.mp4", variant=Variant.CUDA, compute_type="float16")
    assert failed.exit_code == ExitCode.DEVICE_FAILED
    assert "torch" in failed.outcome.message
    assert "use the cuda image" in failed.outcome.message
    assert [item.outcome for item in failed.outcome.items] == [ItemOutcome.LEFT]


def test_a_compute_type_that_the_cpu_lacks_is_refused(bench: StageBench) -> None:
    refused = analyse(bench, "scenes.mp4", compute_type="float16")
    assert refused.exit_code == ExitCode.BUG
    assert "float32, bfloat16, int8_bfloat16" in refused.outcome.message


def test_out_of_memory_half_the_pictures_at_a_time_find_the_same(analysed: Finished, bench: StageBench) -> None:
    short = analyse(bench, "scenes.mp4", program="short_of_memory.py")
    assert short.exit_code == ExitCode.DONE, short.log
    assert "out of memory at batch 4, went on with batch 2" in short.outcome.message
    assert short.outcome.items[0].fingerprint == analysed.item("scenes.mp4").fingerprint
    for found, expected in zip(frames(short, "scenes.mp4"), frames(analysed, "scenes.mp4"), strict=True):
        assert labels(found) == labels(expected)
        assert sum(a * b for a, b in zip(found.embedding, expected.embedding, strict=True)) > 0.9999
