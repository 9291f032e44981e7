"""What a machine can do at most: `python machine_peaks.py FILM ...`, inside the vision image. Prints JSON.

Products of large matrices in OpenVINO (GFLOP/s, a multiplication and an addition being two), copies of memory (GB/s
read and written), and films decoded but for frames that no other refers to (s), with nothing else to do. The best of
several tries each.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import openvino as ov
from openvino import opset13 as ops

THREADS = int(os.environ["OMP_NUM_THREADS"])
TRIES = 5
SIDE = 3072
COPIED_BYTES = 1 << 28
PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


def best_s(action):
    """The shortest of some tries, after one that does not count."""
    action()
    times_s = []
    for _ in range(TRIES):
        started_s = time.perf_counter()
        action()
        times_s.append(time.perf_counter() - started_s)
    return min(times_s)


def product_gflops(kind):
    """Of two square matrices; `int8` quantizes both to 256 levels first."""
    random = np.random.default_rng(0)
    given = ops.parameter([SIDE, SIDE], np.float32)
    left, right = given, ops.constant(random.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32))
    if kind == "int8":
        left, right = (ops.fake_quantize(side, -1.0, 0.992, -1.0, 0.992, 256) for side in (left, right))
    model = ov.Model([ops.matmul(left, right, False, True)], [given])
    settings = {"INFERENCE_PRECISION_HINT": PRECISIONS[kind], "INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1}
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    numbers = random.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32)
    return 2 * SIDE**3 / best_s(lambda: request.infer([numbers], share_inputs=True)) / 1e9


def copy_gb_s():
    """Every thread copies a part that no cache holds."""
    parts = [(np.ones(COPIED_BYTES, np.uint8), np.zeros(COPIED_BYTES, np.uint8)) for _ in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        seconds = best_s(lambda: list(threads.map(lambda part: np.copyto(part[1], part[0]), parts)))
    return 2 * COPIED_BYTES * THREADS / seconds / 1e9


def decode_s(film):
    """A whole film, but for frames that no other refers to; the pictures are not converted."""

    def decode():
        with av.open(film) as container:
            stream = container.streams.video[0]
            stream.thread_type, stream.codec_context.thread_count = "AUTO", THREADS
            stream.codec_context.skip_frame = "NONREF"
            for _ in container.decode(stream):
                pass

    return best_s(decode)


print(
    json.dumps(
        {
            "gflops": {kind: product_gflops(kind) for kind in PRECISIONS},
            "copy_gb_s": copy_gb_s(),
            "decode_s": {film.rsplit("/", 1)[-1]: decode_s(film) for film in sys.argv[1:]},
        }
    )
)
