"""What is done to Airflow's own database before its services start, on the tables of this Airflow's release."""

from collections.abc import Iterator

import pytest
from airflow.models import Pool, TaskInstance
from airflow.utils.state import TaskInstanceState
from sqlalchemy import Column, Connection, Engine, MetaData, Table, insert, select

from images.airflow.initialize import lower_pool_slots

KEPT = {Pool: ("pool", "slots"), TaskInstance: ("task_id", "pool", "pool_slots", "state")}


@pytest.fixture
def airflow_tables(empty_database: Engine) -> Iterator[tuple[Connection, Table]]:
    """The columns that matter of `slot_pool` and `task_instance`, with two slots in the pool gpu."""
    metadata = MetaData()
    pools, tasks = (
        Table(model.__tablename__, metadata, *(Column(name, model.__table__.c[name].type) for name in names))
        for model, names in KEPT.items()
    )
    metadata.create_all(empty_database)
    with empty_database.begin() as connection:
        sizes = {"gpu": 2, "cpu": 1}
        connection.execute(insert(pools), [{"pool": name, "slots": slots} for name, slots in sizes.items()])
        yield connection, tasks


def test_unfinished_gpu_tasks_ask_for_no_more_slots_than_there_are(airflow_tables: tuple[Connection, Table]) -> None:
    connection, tasks = airflow_tables
    states = [None, *(state.value for state in TaskInstanceState)]
    rows = [
        {"task_id": f"{pool} {state} {slots}", "pool": pool, "pool_slots": slots, "state": state}
        for state in states
        for pool, slots in (("gpu", 1), ("gpu", 2), ("gpu", 5), ("cpu", 5))
    ]
    connection.execute(insert(tasks), rows)

    finished = {"success", "failed", "skipped", "upstream_failed", "removed"}
    lowered = {f"gpu {state} 5" for state in states if state not in finished}
    assert lower_pool_slots(connection) == len(lowered)
    asked = {row.task_id: row.pool_slots for row in connection.execute(select(tasks))}
    assert asked == {row["task_id"]: 2 if row["task_id"] in lowered else row["pool_slots"] for row in rows}
    assert lower_pool_slots(connection) == 0
