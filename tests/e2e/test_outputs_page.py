"""The page of a task's outputs: who may see it, and what it shows."""

import httpx
import pytest

from console.airflow_api import AirflowApi
from operators.links import OutputsLink


@pytest.fixture(scope="module")
def run(deployment, speech):
    location = deployment.add(speech, "markup/<b>bold & <script>alert(1)</script>.mp4")
    return deployment.run(location, stages=["media.extract"])


@pytest.fixture(scope="module")
def page(deployment, run):
    class Key:
        dag_id, run_id, task_id = run.dag_id, run.run_id, "media_extract"

    return deployment.settings.airflow_url + OutputsLink().get_link(None, ti_key=Key)  # type: ignore[arg-type]


def as_user(deployment, user, variable):
    settings = deployment.settings
    api = AirflowApi(settings.airflow_url, user, settings.values[variable])
    return {"Authorization": api._client.headers["Authorization"]}


@pytest.fixture(scope="module")
def viewer(deployment):
    return as_user(deployment, "viewer", "AIRFLOW_VIEWER_PASSWORD")


def test_a_stranger_sees_nothing(page):
    assert httpx.get(page).status_code == 401


def test_a_viewer_sees_the_files_and_can_take_them(page, viewer):
    shown = httpx.get(page, headers=viewer)
    assert shown.status_code == 200
    assert "audio.flac" in shown.text
    link = next(part.split('"')[0] for part in shown.text.split('href="') if "name=audio.flac" in part)
    file = httpx.get(httpx.URL(page).join(link.replace("&amp;", "&")), headers=viewer)
    assert file.status_code == 200
    assert file.content[:4] == b"fLaC"
    assert file.headers["content-disposition"].startswith("attachment")


def test_names_are_shown_as_text(page, viewer):
    text = httpx.get(page, headers=viewer).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("name", ["result.json", "../../../secret", "/etc/passwd", ""])
def test_only_listed_files_can_be_had(deployment, run, viewer, name):
    asset = deployment.run_rows("select asset_id from run_item where dag_id = :dag_id and run_id = :run_id", run)[0]
    query = {"run_id": run.run_id, "stage": "media.extract", "asset_id": asset["asset_id"], "name": name}
    url = f"{deployment.settings.airflow_url}/nightreel/outputs/{run.dag_id}/file"
    assert httpx.get(url, params=query, headers=viewer).status_code == 404


@pytest.mark.parametrize("dag_id", ["%2E%2E", ".hidden", "a%2F..%2Fb"])
def test_another_folder_cannot_be_named(deployment, run, viewer, dag_id):
    url = f"{deployment.settings.airflow_url}/nightreel/outputs/{dag_id}?run_id={run.run_id}&task_id=media_extract"
    assert httpx.get(url, headers=viewer).status_code in (403, 404)
