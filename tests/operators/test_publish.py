"""Publishing on a real Postgres: what is written, what is left alone, who wins."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from operators.content import ContentError
from operators.publish import Publication, PublishError, publish_asset
from stage_contract.outputs import TRANSCRIPT_FILE, VISION_FILE
from stage_contract.result import result_dir
from stage_contract.vocabulary import Reason, Stage
from tests.operators.sample_results import SPEECH, add_asset, make_all_results, make_result, showing, speaking

CONTENT_TABLES = (
    "media_asset", "stage_result", "current_result", "extracted_audio", "transcript", "transcript_segment",
    "vision_analysis", "shot", "frame", "detection", "frame_tag", "frame_text", "frame_embedding", "enrichment",
    "entity", "key_phrase", "sentiment",
)  # fmt: skip


def row_versions(database: Engine) -> dict[str, list[tuple[str, str]]]:
    """Where every row lies and which transaction wrote it: any write, even of equal values, shows."""
    with database.begin() as connection:
        return {
            table: [tuple(row) for row in connection.execute(text(f"select ctid::text, xmin::text from {table}"))]  # noqa: S608
            for table in CONTENT_TABLES
        }


def scalar(database: Engine, sql: str) -> object:
    with database.begin() as connection:
        return connection.execute(text(sql)).scalar_one()


@pytest.fixture
def asset_id(media_database: Engine, tmp_path: Path) -> str:
    return add_asset(media_database, tmp_path)


def test_every_stage_fills_its_tables(media_database: Engine, results: Path, asset_id: str) -> None:
    published = publish_asset(media_database, results, asset_id, make_all_results(results, asset_id))

    assert set(published.stages.values()) == {Publication.WRITTEN}
    counts = {table: len(rows) for table, rows in row_versions(media_database).items()}
    assert counts == {
        "media_asset": 1, "stage_result": 5, "current_result": 5, "extracted_audio": 1, "transcript": 1,
        "transcript_segment": 2, "vision_analysis": 1, "shot": 2, "frame": 4, "detection": 8, "frame_tag": 4,
        "frame_text": 4, "frame_embedding": 4, "enrichment": 1, "entity": 1, "key_phrase": 2, "sentiment": 2,
    }  # fmt: skip
    assert scalar(media_database, "select has_audio and has_video from media_asset") is True
    assert scalar(media_database, "select text from transcript") == " ".join(SPEECH)
    assert scalar(media_database, "select probe #>> '{tags,title}' from media_asset") == "Inauguration\ufffd 1961"


def test_publishing_again_touches_no_row(media_database: Engine, results: Path, asset_id: str) -> None:
    index = make_all_results(results, asset_id)
    publish_asset(media_database, results, asset_id, index)
    before = row_versions(media_database)

    published = publish_asset(media_database, results, asset_id, index)

    assert not published.changed
    assert row_versions(media_database) == before


def test_another_fingerprint_replaces_that_stage_only(media_database: Engine, results: Path, asset_id: str) -> None:
    index = make_all_results(results, asset_id)
    publish_asset(media_database, results, asset_id, index)
    before = row_versions(media_database)
    newer = make_result(results, asset_id, Stage.ANALYZE, showing(6), version="2")

    published = publish_asset(media_database, results, asset_id, index | {Stage.ANALYZE: newer})

    assert published.stages[Stage.ANALYZE] is Publication.WRITTEN
    assert published.stages[Stage.TRANSCRIBE] is Publication.UNCHANGED
    after = row_versions(media_database)
    assert after["transcript_segment"] == before["transcript_segment"]
    assert (len(after["frame"]), len(after["stage_result"]), len(after["current_result"])) == (6, 6, 5)


def test_going_back_to_an_earlier_fingerprint_brings_its_content_back(
    media_database: Engine, results: Path, asset_id: str
) -> None:
    first = make_result(results, asset_id, Stage.TRANSCRIBE, speaking("first"))
    second = make_result(results, asset_id, Stage.TRANSCRIBE, speaking("second"), version="2")
    for fingerprint in (first, second):
        publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: fingerprint})
    recorded = row_versions(media_database)["stage_result"]

    publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: first})

    assert scalar(media_database, "select text from transcript") == "first"
    assert scalar(media_database, "select fingerprint from current_result") == first
    assert row_versions(media_database)["stage_result"] == recorded


def test_publishers_at_once_write_an_asset_once(media_database: Engine, results: Path, asset_id: str) -> None:
    index = make_all_results(results, asset_id)
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: publish_asset(media_database, results, asset_id, index), range(3)))

    assert sorted(published.changed for published in done) == [False, False, True]
    assert scalar(media_database, "select count(*) from frame") == 4


def test_publishers_of_different_results_leave_one_of_them_whole(
    media_database: Engine, results: Path, asset_id: str
) -> None:
    versions = [make_result(results, asset_id, Stage.ANALYZE, showing(n), version=str(n)) for n in (200, 300)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda f: publish_asset(media_database, results, asset_id, {Stage.ANALYZE: f}), versions))

    current = scalar(media_database, "select fingerprint from current_result")
    assert scalar(media_database, "select count(*) from frame") == {versions[0]: 200, versions[1]: 300}[str(current)]


def test_a_rejection_is_recorded_without_content(media_database: Engine, results: Path, asset_id: str) -> None:
    rejected = make_result(results, asset_id, Stage.EXTRACT, rejection=Reason.NO_AUDIO)

    published = publish_asset(media_database, results, asset_id, {Stage.EXTRACT: rejected})

    assert published.stages == {Stage.EXTRACT: Publication.REJECTED}
    assert scalar(media_database, "select reason from stage_result") == Reason.NO_AUDIO
    assert scalar(media_database, "select count(*) from extracted_audio") == 0


def test_a_rejection_leaves_earlier_good_content_in_place(media_database: Engine, results: Path, asset_id: str) -> None:
    good = make_result(results, asset_id, Stage.TRANSCRIBE)
    rejected = make_result(results, asset_id, Stage.TRANSCRIBE, version="2", rejection=Reason.UNSUPPORTED)
    publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: good})

    published = [publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: rejected}) for _ in range(2)]

    assert [p.stages[Stage.TRANSCRIBE] for p in published] == [Publication.KEPT, Publication.UNCHANGED]
    assert scalar(media_database, "select fingerprint from current_result") == good
    assert scalar(media_database, "select count(*) from stage_result where status = 'rejected'") == 1


def test_a_good_result_replaces_a_rejection_of_the_same_fingerprint(
    media_database: Engine, results: Path, asset_id: str
) -> None:
    rejected = make_result(results, asset_id, Stage.TRANSCRIBE, rejection=Reason.VANISHED)
    publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: rejected})
    good = make_result(results, asset_id, Stage.TRANSCRIBE)
    assert good == rejected

    publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: good})

    assert scalar(media_database, "select status from stage_result") == "done"
    assert scalar(media_database, "select count(*) from transcript_segment") == 2


def test_a_rejection_of_a_fingerprint_known_to_be_good_changes_nothing(
    media_database: Engine, results: Path, asset_id: str
) -> None:
    good = make_result(results, asset_id, Stage.TRANSCRIBE)
    publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: good})
    make_result(results, asset_id, Stage.TRANSCRIBE, rejection=Reason.VANISHED)

    assert not publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: good}).changed
    assert scalar(media_database, "select status from stage_result") == "done"


def test_an_enrichment_goes_with_the_transcript_it_read(media_database: Engine, results: Path, asset_id: str) -> None:
    index = make_all_results(results, asset_id)
    publish_asset(media_database, results, asset_id, index)
    other = make_result(results, asset_id, Stage.TRANSCRIBE, speaking("something else"), version="2")

    published = publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: other})

    assert published.stages[Stage.ENRICH] is Publication.WITHDRAWN
    assert scalar(media_database, "select count(*) from entity") == 0
    enriched = make_result(results, asset_id, Stage.ENRICH, inputs={Stage.TRANSCRIBE: other})
    again = publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: other, Stage.ENRICH: enriched})
    assert again.stages == {Stage.TRANSCRIBE: Publication.UNCHANGED, Stage.ENRICH: Publication.WRITTEN}


def test_a_result_that_breaks_the_contract_publishes_nothing_of_the_asset(
    media_database: Engine, results: Path, asset_id: str
) -> None:
    index = make_all_results(results, asset_id)
    transcript = result_dir(results, asset_id, Stage.TRANSCRIBE, index[Stage.TRANSCRIBE]) / TRANSCRIPT_FILE
    transcript.write_text(transcript.read_text().replace('"language"', '"langu4ge"'))

    with pytest.raises(ContentError, match=r"transcript\.json is not: "):
        publish_asset(media_database, results, asset_id, index)

    assert scalar(media_database, "select count(*) from stage_result") == 0
    assert scalar(media_database, "select container is null from media_asset") is True


def test_values_that_the_database_refuses_are_told_in_words(
    media_database: Engine, results: Path, asset_id: str
) -> None:
    fingerprint = make_result(results, asset_id, Stage.ANALYZE, showing(2))
    vision = result_dir(results, asset_id, Stage.ANALYZE, fingerprint) / VISION_FILE
    vision.write_text(vision.read_text().replace('"index": 1', '"index": 7'))

    with pytest.raises(ContentError, match="violates foreign key constraint"):
        publish_asset(media_database, results, asset_id, {Stage.ANALYZE: fingerprint})

    assert scalar(media_database, "select count(*) from vision_analysis") == 0


def test_an_incomplete_result_is_refused(media_database: Engine, results: Path, asset_id: str) -> None:
    with pytest.raises(PublishError, match="must be complete"):
        publish_asset(media_database, results, asset_id, {Stage.PROBE: "0" * 24})


def test_an_asset_that_is_not_in_the_catalog_is_refused(media_database: Engine, results: Path) -> None:
    stranger = "0" * 64
    fingerprint = make_result(results, stranger, Stage.PROBE)

    with pytest.raises(PublishError, match="must be in the catalog"):
        publish_asset(media_database, results, stranger, {Stage.PROBE: fingerprint})


def test_text_that_postgres_refuses_is_published_cleaned(media_database: Engine, results: Path, asset_id: str) -> None:
    spoken = make_result(results, asset_id, Stage.TRANSCRIBE, speaking("a\0b \N{PILE OF POO} \\N \t 'x' %s :y"))
    shown = make_result(results, asset_id, Stage.ANALYZE, showing(1, label="x\0", text="\0\\.\n"))

    publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: spoken, Stage.ANALYZE: shown})

    assert scalar(media_database, "select text from transcript") == "a\ufffdb \N{PILE OF POO} \\N \t 'x' %s :y"
    assert scalar(media_database, "select text from frame_text") == "\ufffd\\.\n"


@pytest.mark.parametrize("word", ["{0:x}", "{0:x}-{0:o}", "http://{0:x}.de/{0}", "\U00020000{0:b}"])
def test_hours_of_distinct_words_are_published(media_database: Engine, results: Path, asset_id: str, word: str) -> None:
    endless = " ".join(word.format(n) for n in range(120_000))
    fingerprint = make_result(results, asset_id, Stage.TRANSCRIBE, speaking(endless, "the end"))

    publish_asset(media_database, results, asset_id, {Stage.TRANSCRIBE: fingerprint})

    assert scalar(media_database, "select length(text) from transcript") == len(endless) + len(" the end")


def test_ten_thousand_frames_are_published_in_seconds(media_database: Engine, results: Path, asset_id: str) -> None:
    first = make_result(results, asset_id, Stage.ANALYZE, showing(10_000, dimensions=512))
    second = make_result(results, asset_id, Stage.ANALYZE, showing(10, dimensions=512), version="2")
    started_s = time.monotonic()

    publish_asset(media_database, results, asset_id, {Stage.ANALYZE: first})
    write_s = time.monotonic() - started_s
    publish_asset(media_database, results, asset_id, {Stage.ANALYZE: second})
    replace_s = time.monotonic() - started_s - write_s

    assert scalar(media_database, "select count(*) from frame") == 10
    assert (write_s < 60, replace_s < 30) == (True, True), f"{write_s:.1f} s to write, {replace_s:.1f} s to replace"


def test_deleting_an_asset_deletes_all_about_it(media_database: Engine, results: Path, asset_id: str) -> None:
    publish_asset(media_database, results, asset_id, make_all_results(results, asset_id))

    with media_database.begin() as connection:
        connection.execute(text("delete from media_asset"))

    assert all(rows == [] for rows in row_versions(media_database).values())
