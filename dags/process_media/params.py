"""The trigger form of `process_media`."""

from airflow.sdk import Param

from operators.routing import DevicePolicy
from stage_contract.vocabulary import Stage

SELECTABLE = [str(stage) for stage in Stage if stage is not Stage.PROBE]


def process_media_params() -> dict[str, Param]:
    """What a person fills in. Each has a type that the form enforces before the run exists."""
    return {
        "files": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "minLength": 1},
            title="Files",
            description="One per line, below the archive, such as “archive/2024/tape 7.mp4”. "
            "A folder stands for all the media in it. Files handed in from elsewhere lie below “inbox/”.",
        ),
        "asset_ids": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": "^[0-9a-f]{64}$"},
            title="Asset ids",
            description="Instead of files: media assets already known, by the SHA-256 of their content; one per line.",
        ),
        "language": Param(
            None,
            type=["null", "string"],
            pattern="^[a-z]{2,3}$",
            title="Language",
            description="The language spoken, as an ISO 639-1 code (en, de). Empty: it is detected.",
        ),
        "stages": Param(
            SELECTABLE,
            type="array",
            items={"type": "string", "enum": SELECTABLE},
            examples=SELECTABLE,
            title="Stages",
            description="What to find out. What a stage reads is made as well: "
            "nlp.enrich brings audio.transcribe and media.extract with it.",
        ),
        "device": Param(
            DevicePolicy.AUTO.value,
            type="string",
            enum=[policy.value for policy in DevicePolicy],
            title="Device",
            description="“auto” takes the GPU where one is configured, “gpu” insists on it, “cpu” keeps off it.",
        ),
    }
