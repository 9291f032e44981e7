"""Whether the Airflow process of this container is well: exit code 0, or 1 with a line that says why not.

`health.py api-server` asks the server; for scheduler, dag-processor and triggerer the heartbeat in Airflow's
database is looked up, as `airflow jobs check` does, in a tenth of its time: it runs every few seconds.
"""

import json
import os
import socket
import sys
import urllib.error
import urllib.request
from typing import cast

JOB_TYPES = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}
HEARTBEAT_MAX_AGE_S = 45
TIMEOUT_S = 5
HEARTBEAT_AGE = """
    SELECT extract(epoch FROM now() - latest_heartbeat)::float8
    FROM job
    WHERE job_type = %s AND hostname = %s AND state = 'running'
    ORDER BY latest_heartbeat DESC
    LIMIT 1
"""


def server_complaint() -> str | None:
    """What is wrong with the API server; none when it is well."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:8080/api/v2/monitor/health", timeout=TIMEOUT_S) as answer:
            health = json.load(answer)
    except (OSError, urllib.error.URLError, ValueError) as error:
        return f"the API server must answer: {error}"
    status = health["metadatabase"]["status"]
    return None if status == "healthy" else f"the API server must reach its database: it is {status}"


def heartbeat_complaint(job_type: str) -> str | None:
    """What is wrong with the job of this container; none when its heart beat lately."""
    # Imported only where it is needed; psycopg 3 takes four times as long to import.
    import psycopg2  # type: ignore[import-untyped]

    address = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("postgresql+psycopg2:", "postgresql:", 1)
    try:
        with psycopg2.connect(address, connect_timeout=TIMEOUT_S) as connection, connection.cursor() as cursor:
            cursor.execute(HEARTBEAT_AGE, (job_type, socket.gethostname()))
            row = cursor.fetchone()
    except psycopg2.Error as error:
        return f"the database must answer: {error}"
    if row is None:
        return f"a running {job_type} must be registered for {socket.gethostname()}: there is none yet"
    age_s = cast(float, row[0])
    if age_s > HEARTBEAT_MAX_AGE_S:
        return f"the {job_type} must beat at least every {HEARTBEAT_MAX_AGE_S} s: last seen {age_s:.0f} s ago"
    return None


def main(role: str) -> int:
    """Check one role, say what is wrong."""
    complaint = server_complaint() if role == "api-server" else heartbeat_complaint(JOB_TYPES[role])
    if complaint:
        print(complaint)
    return 1 if complaint else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
