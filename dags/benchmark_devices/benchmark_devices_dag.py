"""
## What it does

Takes the same media through several variants of the stages, in turns, and says which is faster, by how much, and
whether the outputs still agree. A variant is a set of stages with a device (`cpu`, `cuda`), a compute type, a batch
size and parameters; models are those of the images, which hold one for each role.

`find_assets` finds the media. `measure` runs real stage containers, one at a time, with the image, limits and mounts of
production: first what the stages read, then a round to warm up, then the rounds that count. Each round begins
with another variant. It takes all slots of pool `cpu`, so that no other stage computes beside it on the CPU; on a GPU it
leases what it needs, as every task does. Results lie in the benchmark's own folder under names of their own: every
round computes, and nothing is published. `compare` writes tables, raw rows and checks to Postgres, and as Markdown and
CSV to `data/work/benchmark_devices/…`; the page **CPU and GPU** shows them.

**Agreement.** Each variant's outputs are held against those of the first variant that has the stage:

| Check | Tolerance |
| --- | --- |
| word error rate of the transcript | at most 0.05, or two words of a short text |
| 95th percentile of how far segment starts are apart | at most 0.5 s |
| lowest cosine of two CLIP vectors of a frame | at least 0.99 |
| boxes that have a partner (same label, overlap 0.5 or more) | at least 0.95, or all but one |
| mean overlap of partners | at least 0.9 |
| entities that have a partner | at least 0.9, or all but one |

A variant that fails one is marked `wrong`, however fast it is.

**Baseline.** An earlier benchmark of the same media on the same machine: named in the form, or marked on the page. The
run fails when a median exceeds the baseline's by more than the spread (the larger of the two interquartile ranges) and
by 5 % or more; looked at are totals (the time in which any phase went on, the container's start left out), and phases
that make a tenth of one.

## How to run it

Press **Trigger** and name a few files that stand for your archive, or use `make benchmark FILE=clip.mp4`. The form
compares float32 with int8 for speech and with int8_bfloat16 for pictures on the CPU; for a GPU set `device` to `cuda`.

## When something is wrong

| You see | It means | Do |
| --- | --- | --- |
| `find_assets` *failed* | a variant cannot be had, there is no such baseline, or too many files were named | read its message |
| `measure` *queued* for long | pool `cpu` is not free: stages of other runs compute | nothing, or pause backfills |
| `measure` *deferred* | an urgent run goes first | nothing; the container that was interrupted is measured anew |
| a variant *failed* | the device lacks the compute type, or the memory; other variants were measured | read its message in the report |
| a variant *wrong* | it is another result, not only a faster one | read which check failed; do not use it |
| `compare` *failed* | slower than the baseline by more than the spread | the report says what; compare machines and images |

Clearing `measure` goes on after the last container that ended; clearing `find_assets` measures all anew. What a
benchmark leaves in `data/work/benchmark_devices` can be deleted at any time.
"""

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, chain

from benchmark_devices.params import benchmark_params
from benchmark_devices.tasks import compare, find_assets
from operators.benchmark.measure_operator import MeasureOperator
from operators.benchmark.plan import BENCHMARK_DAG_ID

# The file is read without a deployment too, for the documents.
CPU_SLOTS = int(os.environ.get("NIGHTREEL_CPU_SLOTS") or 1)

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "nightreel",
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "execution_timeout": timedelta(hours=12),
}

with DAG(
    dag_id=BENCHMARK_DAG_ID,
    description="Variants of the stages on the same media, in turns: how fast, and whether outputs agree",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    # Two at a time would measure each other.
    max_active_runs=1,
    params=benchmark_params(),
    default_args=DEFAULT_ARGS,
    tags=["nightreel", "benchmark"],
) as dag:
    measure = MeasureOperator(task_id="measure", pool="cpu", pool_slots=CPU_SLOTS)
    chain(find_assets(), measure, compare())
