"""What Nightreel adds to Airflow's UI. Airflow loads this module in every process, so it stays light."""

from airflow.plugins_manager import AirflowPlugin

from nightreel_ui.lazy import LazyApp

PREFIX = "/nightreel"
CATEGORY = "Nightreel"
ICONS = {"icon": f"{PREFIX}/static/icon.svg", "icon_dark_mode": f"{PREFIX}/static/icon_dark.svg"}
PAGES = {
    "Phase timings": "timings",
    "CPU and GPU": "comparison",
    "Devices": "devices",
    "Backfill": "backfill",
    "Archive": "archive",
}
"""By their names in the navigation: their path below the prefix."""

# Airflow fills the braces in, except for {MAP_INDEX} of a task that is not mapped, which stays as it is.
TABS = {
    "dag_run": "timings/run/{DAG_ID}?run_id={RUN_ID}",
    "task": "timings/task/{DAG_ID}?task_id={TASK_ID}",
    "task_instance": "timings/task_instance/{DAG_ID}?run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}",
}
"""By the part of Airflow's UI where they are: their path below the prefix."""


def _page(name: str, path: str) -> dict[str, str]:
    return {
        "name": name,
        "category": CATEGORY,
        "destination": "nav",
        "href": f"{PREFIX}/{path}",
        "url_route": f"nightreel-{path}",
        **ICONS,
    }


def _tab(destination: str, path: str) -> dict[str, str]:
    route = f"nightreel-{destination.replace('_', '-')}"
    return {"name": "Phases", "destination": destination, "href": f"{PREFIX}/{path}", "url_route": route, **ICONS}


class NightreelPlugin(AirflowPlugin):
    """Pages below `/nightreel`, in the navigation and as tabs of runs and tasks."""

    name = "nightreel"
    fastapi_apps = [{"app": LazyApp("nightreel_ui.app:build"), "url_prefix": PREFIX, "name": "nightreel"}]
    external_views = [
        *(_page(name, path) for name, path in PAGES.items()),
        *(_tab(destination, path) for destination, path in TABS.items()),
    ]
