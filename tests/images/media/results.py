"""What the stages of the media image made of an archive."""

from collections.abc import Mapping

from stage_contract.result import ItemResult, read_result
from tests.stage_container import Finished


def by_path(done: Finished) -> Mapping[str, ItemResult | None]:
    """Results by path below the archive; none where there is no complete one."""
    paths = [item.source.removeprefix("archive/") for item in done.request.items]
    return {path: read_result(done.directory(path)) for path in paths}
