"""
## What it does

Takes what is in the archive and has no result yet through every stage: each night in its hours, or when you start it.

`open_backfill` writes down what is to be done, and until when. `scan_archive` makes new and changed files known; at the
same time `launch_shards` packs what has no current result into runs of `process_media`, as many at a time as keep the
machine busy. It launches nothing that is expected to run past the end of the window, and nothing after it; runs under
way then end in peace. `report_backfill` says what came of it: in the run's note, in its log and in `backfill.report`.

What was not done goes on the next night. A file that fails is tried again after one, two and four nights; then it is
parked with its reason. Urgent runs go first: running shards step aside for them by themselves.

## How to run it

Nights are set in `.env`: `NIGHTREEL_NIGHT_DAYS`, such as `mon-sun`, and `NIGHTREEL_NIGHT_HOURS`. To start one now, press
**Trigger** and name folders, or use `make backfill FOLDER=archive/2024`; `DRY_RUN=1` only prints the plan.
`make progress` shows how it goes, as does the run's note. `make pause` and `make resume`, or the DAG `pause_backfill`,
hold everything up and let it go on.

## When something is wrong

| You see | It means | Do |
| --- | --- | --- |
| all tasks *skipped* | the run was late, or keeps to the night's hours, and no night is open; the run's note says it | nothing; or start it by hand without “keep to the night's hours” |
| `open_backfill` *failed* | the form or a setting is wrong | read its message, mend, trigger again |
| `scan_archive` *failed* | the archive could not be read, such as a disk that is not mounted | read its message, mend, clear `open_backfill` with all below it; what is known already was processed |
| `launch_shards` *deferred* for hours | that is the night: it waits in the triggerer and holds no slot | read the run's note |
| the note says *waiting to be started by Airflow* | `process_media` is paused in Airflow's UI, or too many of its runs are active | unpause it, or wait |
| the note says *paused* | somebody paused backfills | `make resume` |
| files *parked* in the report | they failed four times | read the reason, mend, trigger with “retry parked” |
| files *too long* in the report | no night holds them | `make process FILE=…`, or longer hours |

Clearing a task is always safe: nothing is launched twice, and finished results are kept.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, chain

from archive_backfill.params import archive_backfill_params
from archive_backfill.tasks import open_night, report, scan
from operators.backfill.hours import cron
from operators.backfill.night_operator import LaunchShards
from operators.backfill.night_settings import NightSettings

NIGHTS = NightSettings.from_environment()
HOURS = NIGHTS.hours

with DAG(
    dag_id="archive_backfill",
    description="What is in the archive and has no result yet, by night or now",
    doc_md=__doc__,
    schedule=CronTriggerTimetable(cron(HOURS), timezone=HOURS.zone.key) if HOURS else None,
    catchup=False,
    max_active_runs=4,
    params=archive_backfill_params(NIGHTS.scope),
    default_args={"owner": "nightreel", "retries": 3, "retry_delay": timedelta(seconds=30)},
    tags=["nightreel", "backfill"],
) as dag:
    launch = LaunchShards(task_id="launch_shards", pool="default_pool")
    chain(open_night(), [scan(), launch], report())
