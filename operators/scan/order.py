"""Which of the files that are to be hashed is read first."""

from dataclasses import dataclass

from operators.backfill.scope import Order


@dataclass(frozen=True)
class HashOrder:
    """That of the backfill which asks for the scan, so that what it wants first is known first.

    What is in `first_folder`, such as `archive/news`, goes before all else; an empty name is none. How long a file
    plays is not known yet: where the shortest goes first, the smallest does.
    """

    order: Order = Order.NEWEST
    first_folder: str = ""

    @property
    def first_root(self) -> str:
        """The root of `first_folder`; empty where there is none."""
        return self.first_folder.strip("/").partition("/")[0]

    @property
    def first_path(self) -> str:
        """The path of `first_folder` below its root; empty for all of the root."""
        return self.first_folder.strip("/").partition("/")[2]


NEWEST_FIRST = HashOrder()
