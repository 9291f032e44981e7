"""The trigger form of `archive_backfill`."""

from airflow.sdk import Param

from operators.backfill.scope import BackfillScope, Order
from operators.routing import DevicePolicy
from stage_contract.vocabulary import Stage

STAGES = [str(stage) for stage in Stage if stage is not Stage.PROBE]


def archive_backfill_params(night: BackfillScope) -> dict[str, Param]:
    """What a person fills in. `night` is what a scheduled run is about: the values that are there at first."""
    return {**_what(night), **_how(night), **_when()}


def _what(night: BackfillScope) -> dict[str, Param]:
    return {
        "folders": Param(
            list(night.folders),
            type="array",
            items={"type": "string", "minLength": 1},
            title="Folders",
            description="One per line: “archive” for all of it, a folder such as “archive/2024”, or a file.",
        ),
        "asset_ids": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": "^[0-9a-f]{64}$"},
            title="Asset ids",
            description="Only these media assets, by the SHA-256 of their content; one per line. No scan then.",
        ),
        "order": Param(
            night.order.value,
            type="string",
            enum=[order.value for order in Order],
            title="Order",
            description="What goes first: “newest” and “oldest” by the file's time, “shortest” by the work it is.",
        ),
        "first_folder": Param(
            night.first_folder,
            type=["null", "string"],
            title="First",
            description="A folder that goes before everything else, such as “archive/news”. Empty: none.",
        ),
    }


def _how(night: BackfillScope) -> dict[str, Param]:
    return {
        "stages": Param(
            STAGES,
            type="array",
            items={"type": "string", "enum": STAGES},
            examples=STAGES,
            title="Stages",
            description="What to find out; what a stage reads is made as well.",
        ),
        "device": Param(
            DevicePolicy.AUTO.value,
            type="string",
            enum=[policy.value for policy in DevicePolicy],
            title="Device",
            description="“auto” takes the GPU where one is well, “gpu” insists on it, “cpu” keeps off it.",
        ),
        "language": Param(
            night.language,
            type=["null", "string"],
            pattern="^[a-z]{2,3}$",
            title="Language",
            description="The language spoken in all of it, as an ISO 639-1 code (en, de). Empty: it is detected.",
        ),
        "renew": Param(
            night.renew,
            type="boolean",
            title="Renew",
            description="Also what has results of other models or settings than those in force now.",
        ),
        "retry_parked": Param(
            False,
            type="boolean",
            title="Retry parked",
            description="Also what failed before, whether its wait is over or it is parked.",
        ),
    }


def _when() -> dict[str, Param]:
    return {
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Scan and print the plan in the log of report_backfill; launch nothing, keep no plan.",
        ),
        "until": Param(
            None,
            type=["null", "string"],
            pattern="^(([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?)?$",
            title="Until",
            description="A time of day such as 06:00, in the nights' time zone: nothing is launched after it. "
            "Empty: no end.",
        ),
        "in_window": Param(
            False,
            type="boolean",
            title="Keep to the night's hours",
            description="Launch only while the night is open. A scheduled run always does; by hand, now.",
        ),
    }
