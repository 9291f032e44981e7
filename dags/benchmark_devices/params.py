"""The trigger form of `benchmark_devices`."""

from airflow.sdk import Param
from pydantic import JsonValue

from operators.benchmark.plan import MEASURED_STAGES, MOST_ASSETS, MOST_REPEATS, MOST_VARIANTS
from stage_contract.vocabulary import Stage, Variant

EXAMPLE: list[JsonValue] = [
    {"name": "audio float32", "stages": [Stage.TRANSCRIBE.value], "device": "cpu", "compute_type": "float32"},
    {"name": "audio int8", "stages": [Stage.TRANSCRIBE.value], "device": "cpu", "compute_type": "int8"},
    {"name": "vision float32", "stages": [Stage.ANALYZE.value], "device": "cpu", "compute_type": "float32"},
    {"name": "vision int8", "stages": [Stage.ANALYZE.value], "device": "cpu", "compute_type": "int8_bfloat16"},
]


def benchmark_params() -> dict[str, Param]:
    """What a person fills in."""
    return {
        "files": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "minLength": 1},
            title="Files",
            description="One per line, below the archive, such as “archive/2024/tape 7.mp4”; a folder stands for all "
            f"the media in it. {MOST_ASSETS} at most: each goes through every variant in every round.",
        ),
        "asset_ids": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": "^[0-9a-f]{64}$"},
            title="Asset ids",
            description="Instead of files: media assets already known, by the SHA-256 of their content; one per line.",
        ),
        "variants": Param(
            EXAMPLE,
            type="array",
            minItems=1,
            maxItems=MOST_VARIANTS,
            items={
                "type": "object",
                "required": ["name", "stages"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "stages": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "enum": [stage.value for stage in MEASURED_STAGES]},
                    },
                    "device": {"type": "string", "enum": [variant.value for variant in Variant]},
                    "compute_type": {"type": ["string", "null"]},
                    "batch_size": {"type": ["integer", "null"], "minimum": 1},
                    "parameters": {"type": "object"},
                },
            },
            title="Variants",
            description="What to measure: name, stages, device (“cpu”, “cuda”), compute_type, batch_size, and "
            "parameters by stage, such as {“audio.transcribe”: {“beam_size”: 1}}; what is left out is as in "
            "production. The first variant of a stage is the reference of the others.",
        ),
        "repeats": Param(
            5,
            type="integer",
            minimum=1,
            maximum=MOST_REPEATS,
            title="Repeats",
            description="Rounds that count, after one to warm up. With fewer than 3 there is no spread, and nothing is "
            "held against a baseline.",
        ),
        "language": Param(
            None,
            type=["null", "string"],
            pattern="^[a-z]{2,3}$",
            title="Language",
            description="The language spoken, as an ISO 639-1 code (en, de). Empty: it is detected.",
        ),
        "name": Param(
            None,
            type=["null", "string"],
            maxLength=120,
            title="Name",
            description="What the benchmark is called. Empty: as its run.",
        ),
        "baseline": Param(
            None,
            type=["null", "string"],
            title="Baseline",
            description="The name of an earlier benchmark of the same media: what is slower now fails the run. Empty: "
            "the one that is marked on the page “CPU and GPU”, if any is.",
        ),
    }
