"""Writes docs/dags.md from the DAG files: `python -m docs.generate_dags`."""

import importlib
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from docs.markdown import code, table

DOCS = Path(__file__).resolve().parent
TARGET = DOCS / "dags.md"
FOLDER = DOCS.parent / "dags"

INTRODUCTION = """# DAGs

`make docs` writes this file from the folder `dags/`. Each manual also stands on its DAG's page in Airflow.
"""


def load_dags(folder: Path = FOLDER) -> list[list[DAG]]:
    """The DAGs of each `*_dag.py`, in order of file name and definition."""
    names = [".".join(file.relative_to(folder).with_suffix("").parts) for file in sorted(folder.rglob("*_dag.py"))]
    modules = [importlib.import_module(name) for name in names]
    return [[value for value in vars(module).values() if isinstance(value, DAG)] for module in modules]


def write_document() -> str:
    """The whole document."""
    return "\n".join([INTRODUCTION, *(_section(dags) for dags in load_dags())])


def _section(dags: Sequence[DAG]) -> str:
    first = dags[0]
    manual = (first.doc_md or "").strip().replace("## ", "### ")
    lines = [
        f"## {', '.join(dag.dag_id for dag in dags)}\n",
        "\n".join(f"- `{dag.dag_id}`: {dag.description}. Runs {_schedule(dag)}." for dag in dags) + "\n",
        manual + "\n",
    ]
    if first.params:
        lines += ["### Parameters\n", _params(first)]
    return "\n".join([*lines, "### Tasks\n", _tasks(dags)])


def _schedule(dag: DAG) -> str:
    if dag.schedule is None:
        return "when it is triggered"
    if isinstance(dag.schedule, timedelta):
        return f"every {dag.schedule.total_seconds() / 60:g} minutes"
    return f"by the schedule `{dag.schedule}`"


def _params(dag: DAG) -> str:
    rows = []
    for name in dag.params:
        param = dag.params.get_param(name)
        kinds = param.schema["type"]
        rows.append(
            (
                code(name),
                kinds if isinstance(kinds, str) else " or ".join(kinds),
                code(json.dumps(param.value)),
                param.description or "",
            )
        )
    return table(("Name", "Type", "Default", "Meaning"), rows)


def _tasks(dags: Sequence[DAG]) -> str:
    rows = []
    for task in dags[0].tasks:
        weights = [str(dag.get_task(task.task_id).priority_weight) for dag in dags]
        limit = task.execution_timeout
        rows.append(
            (
                code(task.task_id),
                ", ".join(map(code, sorted(task.upstream_task_ids))),
                code(task.pool),
                " / ".join(weights),
                str(task.retries),
                code(task.trigger_rule.value),
                f"{limit.total_seconds() / 3600:g} h" if limit else "none",
            )
        )
    return table(("Task", "After", "Pool", "Priority", "Retries", "Trigger rule", "Time limit"), rows)


if __name__ == "__main__":
    TARGET.write_text(write_document())
