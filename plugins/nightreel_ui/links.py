"""Where Airflow's own pages are. Links to them need `target="_top"`, since ours are shown in a frame."""

from fastapi import Request

PREFIX = "/nightreel"
"""Where Airflow mounts these pages."""


def airflow_base(request: Request) -> str:
    """What the paths of Airflow's pages begin with; empty where Airflow is at its host's root."""
    base: str = request.scope.get("root_path", "")
    return base.removesuffix(PREFIX)
