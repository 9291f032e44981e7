"""What a backfill is about, as asked for by the night's settings or by a person."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from operators.routing import DevicePolicy
from stage_contract.request import AssetId
from stage_contract.vocabulary import Stage


class Order(StrEnum):
    """Which assets go first. Newest and oldest go by the file's modification time."""

    NEWEST = "newest"
    OLDEST = "oldest"
    SHORTEST = "shortest"


class BackfillScope(BaseModel):
    """What to process. `folders` are files or folders such as `archive/2024`; with `asset_ids`, only those assets.

    `first_folder` goes before everything else. With `renew`, a result counts as current only when the models and
    settings in force now would make the same; else any result does. `retry_parked` also takes assets that failed
    before and whose wait is not over. `language` is the one spoken, as an ISO 639-1 code; none: it is detected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: tuple[str, ...] = ("archive",)
    asset_ids: tuple[AssetId, ...] = ()
    first_folder: str = ""
    order: Order = Order.NEWEST
    stages: tuple[Stage, ...] = Field(default=tuple(Stage))
    device: DevicePolicy = DevicePolicy.AUTO
    language: str | None = Field(default=None, pattern=r"^[a-z]{2,3}$")
    renew: bool = False
    retry_parked: bool = False
