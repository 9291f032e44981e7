"""The pages' connections to the database "media": one small pool, for all requests."""

from functools import cache
from typing import Annotated

from fastapi import Depends
from sqlalchemy import Engine

from operators.database import connect


@cache
def media_database() -> Engine:
    """The engine; made with the first request, for a fork must not share it.

    Raises:
        SettingMissing: the deployment does not say where the database is.
    """
    return connect()


MediaDatabase = Annotated[Engine, Depends(media_database)]
"""Of a route that reads."""
