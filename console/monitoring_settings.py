"""The settings of monitoring: their names, what `.env` says beside them, their first values, and their rule."""

from collections.abc import Mapping

from console.terminal import ConsoleError

MONITORING_GROUP = "Monitoring"
MONITORING_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("NIGHTREEL_MONITORING", "Whether Prometheus, and Grafana where it can be had, run too: 0 or 1.", "0"),
    ("NIGHTREEL_PROMETHEUS_PORT", "Prometheus, open to this machine only.", "9090"),
    ("NIGHTREEL_GRAFANA_PORT", "Grafana, open to this machine only.", "3000"),
)
"""Name, comment, first value."""

MONITORING_PORTS = ("NIGHTREEL_PROMETHEUS_PORT", "NIGHTREEL_GRAFANA_PORT")


def check_monitoring(values: Mapping[str, str]) -> None:
    """Hold the settings of monitoring against their rule; the ports have one of their own.

    Raises:
        ConsoleError: a value breaks it.
    """
    if values["NIGHTREEL_MONITORING"] not in ("0", "1"):
        raise ConsoleError(
            f"NIGHTREEL_MONITORING must be 0 or 1: it is {values['NIGHTREEL_MONITORING']!r}; change it in .env"
        )
