"""Every route of the running deployment, asked for by a stranger, a viewer and an editor with accounts of Airflow's."""

import httpx

from console.airflow_api import AirflowApi
from nightreel_plugin import PREFIX
from nightreel_ui import app
from tests.plugins.access_table import ANONYMOUS, EDITOR, VIEWER, ask_all, find_routes, write_table
from tests.ui.conftest import PASSWORDS


def asking(deployment, user=None):
    settings = deployment.settings
    headers = {}
    if user:
        api = AirflowApi(settings.airflow_url, user, settings.values[PASSWORDS[user]])
        headers = {"Authorization": api._client.headers["Authorization"]}
    client = httpx.Client(base_url=settings.airflow_url + PREFIX, headers=headers)

    def ask(method, address, more):
        with client.stream(method, address, headers=more) as answer:
            return answer.status_code

    return ask


def test_strangers_get_nothing_viewers_read_and_editors_act(deployment, work):
    visitors = {
        ANONYMOUS: asking(deployment),
        VIEWER: asking(deployment, "viewer"),
        EDITOR: asking(deployment, "nightreel"),
    }
    answers = ask_all(find_routes(app.build(), {"asset_id": work.asset_id, "run_id": work.run.run_id}), visitors)
    write_table(answers)
    assert not [mistake for answer in answers for mistake in answer.mistakes]
