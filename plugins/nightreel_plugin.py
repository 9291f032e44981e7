"""What Nightreel adds to Airflow's UI. Airflow loads this module in every process, so it stays light."""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from nightreel_ui.lazy import LazyApp


class NightreelPlugin(AirflowPlugin):
    """Pages below `/nightreel`."""

    name = "nightreel"
    fastapi_apps: ClassVar[list[Any]] = [
        {"app": LazyApp("nightreel_ui.app:build"), "url_prefix": "/nightreel", "name": "nightreel"}
    ]
