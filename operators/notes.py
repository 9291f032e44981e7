"""Notes on runs and tasks in Airflow's UI, through its REST API."""

from collections.abc import Sequence
from urllib.parse import quote

from operators.airflow_api import AirflowApi, run_path
from stage_contract.request import TaskKey

# Airflow refuses a longer note.
LONGEST = 1000
SHORTEST_LINE = 40
MARK = "device: "
"""Begins each line about devices in a run's note. Lines without a mark of ours are a person's, and stay."""


class Notes(AirflowApi):
    """A logged-in session that writes notes.

    Raises (every method):
        httpx.HTTPError: Airflow does not answer, or refuses.
        SettingMissing: the deployment does not say where Airflow is.
    """

    def note_task(self, task: TaskKey, text: str) -> None:
        """Show `text` on the task, cut where Airflow takes no more."""
        path = f"{run_path(task.dag_id, task.run_id)}/taskInstances/{quote(task.task_id)}"
        self.send("PATCH", path, json={"note": _cut(text, LONGEST)})

    def note_run(self, dag_id: str, run_id: str, lines: Sequence[str], mark: str = MARK) -> None:
        """Show `lines` on a run, each after `mark`, in place of those shown before; a person's own lines stay."""
        path = run_path(dag_id, run_id)
        before = self.send("GET", path).get("note") or ""
        note = write_run_note(before, lines, mark)
        if note != before:
            self.send("PATCH", path, json={"note": note})


def write_run_note(before: str, lines: Sequence[str], mark: str = MARK) -> str:
    """The note with `lines` in place of those in `before` that begin with `mark`.

    A person's words stay whole. Ours share the room that is left, short ones in full; where there is not
    enough for all, the first go, since the last tell what happened most lately.
    """
    own = "\n".join(line for line in before.splitlines() if not line.startswith(mark)).strip("\n")
    room = LONGEST - len(own)
    told = [mark + " ".join(line.split()) for line in lines]
    told = told[max(0, len(told) - room // SHORTEST_LINE) :]
    widths: dict[str, int] = {}
    for place, line in enumerate(sorted(told, key=len)):
        # One for the line's end.
        widths[line] = min(len(line), room // (len(told) - place) - 1)
        room -= widths[line] + 1
    return "\n".join([*filter(None, [own]), *(_cut(line, widths[line]) for line in told)])


def _cut(text: str, longest: int) -> str:
    """`text` on one line, in so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
