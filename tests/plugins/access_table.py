"""Who gets what: every route of the application, asked for by everyone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.routing import APIRoute

TARGET = Path(__file__).resolve().parents[2] / "build" / "access.md"
ANONYMOUS, WITHOUT_RIGHTS, VIEWER, EDITOR = "anonymous", "logged in, without rights", "viewer", "editor"
ELSEWHERE = "editor, from another site"
REFUSED = (401, 403)
OPEN = ("/", "/static/{name}")
"""Of no run and no medium: for all who are logged in."""

EXAMPLES = {
    "asset_id": "a" * 64,
    "dag_id": "process_media",
    "device_uuid": "GPU-1",
    "fingerprint": "a" * 24,
    "map_index": "-1",
    "name": "nightreel.css",
    "run_id": "manual__2026-11-21",
    "stage": "audio.transcribe",
    "task_id": "audio_transcribe",
}
"""What stands for each part of an address, by its name."""

Ask = Callable[[str, str, Mapping[str, str]], int]
"""Method, address and headers of a request to its answer's status. Redirects are not followed."""


@dataclass(frozen=True)
class Route:
    """A route, and one address of it."""

    method: str
    path: str
    address: str

    @property
    def acts(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET"


@dataclass(frozen=True)
class Answers:
    """What everyone got from a route: statuses by who asked."""

    route: Route
    statuses: Mapping[str, int]

    @property
    def mistakes(self) -> list[str]:
        """What should be otherwise."""
        got = self.statuses
        rules = {
            "a stranger is asked to log in": got[ANONYMOUS] == 401,
            "nobody sees what Airflow hides": got.get(WITHOUT_RIGHTS, 403) == 403 or self.route.path in OPEN,
            "a viewer reads, and never acts": (got[VIEWER] == 403) if self.route.acts else got[VIEWER] not in REFUSED,
            "an editor does both": got[EDITOR] not in REFUSED,
            "nothing is done for another site's page": not self.route.acts or got[ELSEWHERE] == 403,
            "nothing breaks": all(status < 500 for status in got.values()),
        }
        return [
            f"{self.route.method} {self.route.path}: {rule}; got {got}"
            for rule, is_kept in rules.items()
            if not is_kept
        ]


def find_routes(app: FastAPI, known: Mapping[str, str]) -> list[Route]:
    """All routes of the application, those that nobody thought of included. `known` names what there is, by part.

    Raises:
        ValueError: there is something else than a route, or a part of an address has no example.
    """
    found = []
    for route in app.routes:
        if not isinstance(route, APIRoute):
            raise ValueError(f"every route must be one that asks who is there: {route} is none")
        address = _address(route, {**EXAMPLES, **known})
        found += [Route(method, route.path, address) for method in sorted(route.methods)]
    return sorted(found, key=lambda route: (route.path, route.method))


def ask_all(routes: list[Route], visitors: Mapping[str, Ask]) -> list[Answers]:
    """Ask for every route as every one of `visitors`, of whom only the one without rights may be missing."""
    answers = []
    for route in routes:
        statuses = {who: ask(route.method, route.address, {}) for who, ask in visitors.items()}
        statuses[ELSEWHERE] = visitors[EDITOR](route.method, route.address, {"Sec-Fetch-Site": "cross-site"})
        answers.append(Answers(route, statuses))
    return answers


def write_table(answers: list[Answers], target: Path = TARGET) -> None:
    """As Markdown."""
    columns = list(answers[0].statuses)
    head = ["# Who gets what from the pages", "", f"| | | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
    rows = [f"| {answer.route.method} | `{answer.route.path}` | {_got(answer)} |" for answer in answers]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join([*head, *rows, ""]))


def _got(answer: Answers) -> str:
    return " | ".join(str(status) for status in answer.statuses.values())


def _address(route: APIRoute, examples: Mapping[str, str]) -> str:
    path = route.path
    for field in route.dependant.path_params:
        path = path.replace(f"{{{field.name}}}", _example(route, field.name, examples))
        path = path.replace(f"{{{field.name}:path}}", _example(route, field.name, examples))
    query = [
        f"{field.alias}={quote(_example(route, field.alias, examples))}"
        for field in route.dependant.query_params
        if field.field_info.is_required()
    ]
    return f"{path}?{'&'.join(query)}" if query else path


def _example(route: APIRoute, name: str, examples: Mapping[str, str]) -> str:
    if name in examples:
        return examples[name]
    if name.endswith(("_id", "number", "page")):
        return "1"
    raise ValueError(f"EXAMPLES must have a value for {name!r}, of {route.path}")
