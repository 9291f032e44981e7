"""Prometheus and Grafana beside the services: their images, and which of Compose's profiles are in force."""

from console.base_image import RECIPE_LABEL, build_from_packages, pull, recipe_of
from console.compose import docker_compose
from console.engine import image_id, image_label
from console.settings import Settings
from console.terminal import REPOSITORY

PROMETHEUS_IMAGE = "nightreel/prometheus:2.53"
PROMETHEUS_DIRECTORY = REPOSITORY / "images" / "prometheus"
GRAFANA_IMAGE = "nightreel/grafana:11"
OFFICIAL_GRAFANA_IMAGE = (
    "grafana/grafana:11.6.0@sha256:62d2b9d20a19714ebfe48d1bb405086081bc602aa053e28cf6d73c7537640dfb"
)
NO_GRAFANA = "there are no dashboards, all else is started; Prometheus shows metrics and alerts"

# Compose's profiles: the services of each, and the image without which it is not in force.
PROFILES = {"monitoring": ("metrics", "prometheus"), "grafana": ("grafana",)}
IMAGES = {"monitoring": PROMETHEUS_IMAGE, "grafana": GRAFANA_IMAGE}


def ensure_monitoring_images(settings: Settings) -> None:
    """Have Prometheus, made here, and Grafana, where a registry has it; nothing where monitoring is off.

    Raises:
        ConsoleError: Prometheus cannot be built here.
    """
    if not settings.is_monitored:
        return
    ensure_prometheus_image()
    if image_id(GRAFANA_IMAGE) is None or image_id(GRAFANA_IMAGE) != image_id(OFFICIAL_GRAFANA_IMAGE):
        pull(OFFICIAL_GRAFANA_IMAGE, GRAFANA_IMAGE, NO_GRAFANA)


def ensure_prometheus_image() -> str:
    """Prometheus under `PROMETHEUS_IMAGE`, built once from Debian's packages, with a registry or without.

    Raises:
        ConsoleError: it cannot be built here.
    """
    recipe = recipe_of(PROMETHEUS_DIRECTORY)
    if image_id(PROMETHEUS_IMAGE) is None or image_label(PROMETHEUS_IMAGE, RECIPE_LABEL) != recipe:
        build_from_packages(PROMETHEUS_DIRECTORY, PROMETHEUS_IMAGE, recipe)
    return PROMETHEUS_IMAGE


def profiles(settings: Settings) -> str:
    """Which profiles are in force: the value of `COMPOSE_PROFILES`."""
    return ",".join(profile for profile in PROFILES if settings.is_monitored and image_id(IMAGES[profile]))


def services(settings: Settings) -> tuple[str, ...]:
    """The services of the profiles that are in force."""
    in_force = settings.values["COMPOSE_PROFILES"].split(",")
    return tuple(service for profile in PROFILES if profile in in_force for service in PROFILES[profile])


def stop_unwanted(settings: Settings) -> None:
    """Take away services whose profile is not in force any more: Compose itself leaves them running.

    Raises:
        ConsoleError: Compose failed.
    """
    wanted = services(settings)
    unwanted = [service for names in PROFILES.values() for service in names if service not in wanted]
    if unwanted:
        docker_compose(settings, *every_profile(), "rm", "--stop", "--force", *unwanted)


def every_profile() -> tuple[str, ...]:
    """Compose's arguments for a command that concerns all services, whichever are in force."""
    return tuple(part for profile in PROFILES for part in ("--profile", profile))


def urls(settings: Settings) -> list[tuple[str, str]]:
    """What answers where, of what is in force: name and address."""
    running, ports = services(settings), settings.monitoring_ports
    shown = {"prometheus": "NIGHTREEL_PROMETHEUS_PORT", "grafana": "NIGHTREEL_GRAFANA_PORT"}
    return [(name.capitalize(), f"http://127.0.0.1:{ports[shown[name]]}") for name in running if name in shown]
