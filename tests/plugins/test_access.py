"""Every route asks who is there: a stranger gets nothing, a viewer reads, an editor acts."""

from dataclasses import asdict

import pytest

from nightreel_ui import app
from tests.plugins.access_table import ANONYMOUS, EDITOR, VIEWER, WITHOUT_RIGHTS, ask_all, find_routes, write_table
from tests.plugins.hostile import plant


@pytest.fixture
def visitors(visit):
    def asking(role):
        client = visit(role)

        def ask(method, address, headers):
            with client.stream(method, address, headers=headers) as answer:
                return answer.status_code

        return ask

    roles = {ANONYMOUS: "anonymous", WITHOUT_RIGHTS: "", VIEWER: "viewer", EDITOR: "user"}
    return {who: asking(role) for who, role in roles.items()}


def test_strangers_get_nothing_viewers_read_and_editors_act(visitors, media_database, results, tmp_path):
    planted = plant(media_database, results, tmp_path)
    known = {name: str(value) for name, value in asdict(planted).items()}
    answers = ask_all(find_routes(app.build(), known), visitors)
    write_table(answers)
    assert not [mistake for answer in answers for mistake in answer.mistakes]
