"""What Nightreel adds to Airflow's UI. Airflow loads this module in every process, so it stays light."""

from airflow.plugins_manager import AirflowPlugin

from nightreel_ui.lazy import LazyApp


class NightreelPlugin(AirflowPlugin):
    """Pages below `/nightreel`."""

    name = "nightreel"
    fastapi_apps = [{"app": LazyApp("nightreel_ui.app:build"), "url_prefix": "/nightreel", "name": "nightreel"}]
