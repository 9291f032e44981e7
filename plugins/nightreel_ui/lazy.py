"""An ASGI application that is built when the first request comes.

Building it imports Airflow's API server, which takes seconds and belongs in no task's process.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class LazyApp:
    """Stands for the application that `factory`, written `module:function`, builds."""

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self._app: Application | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if self._app is None:
            module, function = self._factory.split(":")
            self._app = getattr(import_module(module), function)()
        await self._app(scope, receive, send)
