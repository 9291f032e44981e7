"""A deployment of its own with real runs, a browser, and people who log in."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import pytest
from playwright.sync_api import Browser, sync_playwright

from console.demo_media import make_demo_media
from console.images import build_images
from tests.deployment import Deployment, deployed, open_to_all, own_settings
from tests.ui.chromium import find_chromium
from tests.ui.person import NARROW_PX, THEMES, Look, Person, log_in
from tests.ui.places import FRONTS, Work, places

People = Callable[[str], Person]
Looks = Mapping[tuple[str, str], Look]
"""By the place's name and the theme."""

PASSWORDS = {
    "admin": "AIRFLOW_ADMIN_PASSWORD",
    "viewer": "AIRFLOW_VIEWER_PASSWORD",
    "nightreel": "NIGHTREEL_NOTES_PASSWORD",
}
"""Setting by user. `nightreel` has Airflow's role `user`: it may start DAGs, and change nothing else."""

ASSET_AT = "select asset_id from media_location where root = 'archive' and path = :path"
COMPUTE_TYPES = ("float32", "int8")


def most_spoken(text: str) -> str:
    """The word of six letters or more that is said most often."""
    words: list[str] = re.findall(r"[a-z]{6,}", text.lower())
    return Counter(words).most_common(1)[0][0]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = find_chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program)
        yield running
        running.close()


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    build_images()
    folder = tmp_path_factory.mktemp("ui")
    open_to_all(folder)
    (folder / "archive").mkdir()
    # Scans take films that were made a moment ago.
    settings = own_settings(folder, f"nightreel-ui-{os.getpid()}") | {"NIGHTREEL_SETTLE_S": "0"}
    with deployed(settings) as running:
        yield running


@pytest.fixture(scope="package")
def people(browser: Browser, deployment: Deployment) -> People:
    """Log in as a user of the deployment."""

    def enter(user: str) -> Person:
        settings = deployment.settings
        return log_in(browser, settings.airflow_url, user, settings.values[PASSWORDS[user]])

    return enter


@pytest.fixture(scope="package")
def editor(people: People) -> Person:
    return people("nightreel")


@pytest.fixture(scope="package")
def empty_looks(editor: Person) -> Looks:
    """Every page of the navigation as it is before the first run."""
    return {(place.name, theme): editor.look(place, theme, kind="-empty") for place in FRONTS for theme in THEMES}


@pytest.fixture(scope="package")
def work(deployment: Deployment, empty_looks: Looks) -> Work:
    """A run, of which one film is done and one rejected; a backfill of a film whose words are known; a benchmark."""
    films = make_demo_media(deployment.settings.archive)
    run = deployment.run("archive/statements", "archive/uploads")
    backfill = deployment.wait(deployment.api.trigger("archive_backfill", {"folders": ["archive/narrated"]}))
    benchmark = " and ".join(COMPUTE_TYPES)
    variants = [{"name": kind, "stages": ["audio.transcribe"], "compute_type": kind} for kind in COMPUTE_TYPES]
    asked = {"name": benchmark, "files": ["archive/statements"], "variants": variants, "repeats": 1}
    deployment.wait(deployment.api.trigger("benchmark_devices", asked))
    narration = next(film for film in films if film.known_text)
    (asset,) = deployment.rows(ASSET_AT, path=str(narration.path.relative_to(deployment.settings.archive)))
    return Work(run, backfill, benchmark, asset["asset_id"], most_spoken(str(narration.known_text)))


@pytest.fixture(scope="package")
def looks(editor: Person, work: Work) -> Looks:
    """Every page with what was recorded of the work."""
    return {(place.name, theme): editor.look(place, theme) for place in places(work) for theme in THEMES}


@pytest.fixture(scope="package")
def narrow_looks(editor: Person, work: Work) -> Looks:
    """Every page on a phone."""
    return {(place.name, "light"): editor.look(place, "light", NARROW_PX) for place in places(work)}
