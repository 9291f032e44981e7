import pytest

from tests.bench.limit_rounds import Peaks, least_for_pictures, least_for_speech

PEAKS = Peaks(gflops={"float32": 100.0, "bfloat16": 200.0, "int8": 400.0}, copy_gb_s=20.0, decode_s={"a.mp4": 2.0})


def test_pictures_take_at_least_their_decoding_and_their_products():
    least = least_for_pictures(PEAKS, "a.mp4", 100)
    assert least.parts_s == pytest.approx({"decode": 2.0, "CLIP in int8": 2.2, "detector in bfloat16": 2.6})
    assert least.total_s == pytest.approx(6.8)


def test_a_batch_reads_the_decoders_weights_once_for_all_of_its_windows():
    one, eight = (least_for_speech(PEAKS, 240.0, 600, batch_size).parts_s for batch_size in (1, 8))
    weights = "decoder's weights out of memory"
    assert one[weights] == pytest.approx(8 * eight[weights])
    assert one["encoder"] == eight["encoder"]


def test_no_batch_is_larger_than_the_speech():
    few, many = (least_for_speech(PEAKS, 60.0, 150, batch_size) for batch_size in (2, 16))
    assert few == many
