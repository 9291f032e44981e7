"""Links from a task in Airflow's UI to what it made."""

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class OutputsLink(BaseOperatorLink):
    """To the page with the files that a stage wrote in this run."""

    name = "Outputs"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """The page's address, relative to Airflow's own."""
        query = urlencode({"run_id": ti_key.run_id, "task_id": ti_key.task_id})
        return f"/nightreel/outputs/{quote(ti_key.dag_id)}?{query}"
