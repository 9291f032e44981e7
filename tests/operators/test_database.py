"""The connection setting and transactions."""

import pytest
from sqlalchemy import Connection, Engine, text

from operators.database import URL_VARIABLE, connect, transaction
from operators.errors import SettingMissing


@pytest.mark.parametrize("value", [None, "", "not a url", "postgresql+psycopg2://u:secret@h/media", "sqlite://"])
def test_a_database_that_is_not_set_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(URL_VARIABLE, value)

    with pytest.raises(SettingMissing, match=f"{URL_VARIABLE} must be") as raised:
        connect()

    assert "secret" not in str(raised.value)


def test_the_engine_of_the_environment_speaks_utc(monkeypatch: pytest.MonkeyPatch, migrated_database: Engine) -> None:
    monkeypatch.setenv(URL_VARIABLE, migrated_database.url.render_as_string(hide_password=False))

    engine = connect()
    with engine.begin() as connection:
        assert connection.execute(text("show timezone")).scalar_one() == "UTC"
    engine.dispose()


def test_both_ends_give_up_a_host_that_has_vanished_within_a_minute(migrated_database: Engine) -> None:
    with migrated_database.connect() as connection:
        asked_by_us = connection.connection.dbapi_connection.info.get_parameters()  # type: ignore[union-attr]
        asked_by_the_server = {
            name: int(setting)
            for name, setting in connection.execute(text("select name, setting from pg_settings where name ~ '^tcp_'"))
        }
    told = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
    assert {name: int(asked_by_us[name]) for name in told} == told
    assert asked_by_us["keepalives"] == "1"
    assert {name.removeprefix("tcp_"): value for name, value in asked_by_the_server.items()} == {
        name.removeprefix("tcp_"): value for name, value in told.items()
    }


def test_a_block_within_the_callers_transaction_is_undone_with_it(media_database: Engine) -> None:
    insert = text("insert into media_asset (asset_id, size_bytes) values (repeat('a', 64), 1)")
    with media_database.connect() as connection:
        with connection.begin() as outer:
            with transaction(connection) as inner:
                inner.execute(insert)
            outer.rollback()
        with transaction(connection) as inner:
            assert inner.execute(text("select count(*) from media_asset")).scalar_one() == 0


def test_an_error_within_a_block_leaves_the_callers_transaction_usable(media_database: Engine) -> None:
    def add_and_fail(connection: Connection) -> None:
        with transaction(connection) as inner:
            inner.execute(text("insert into media_asset (asset_id, size_bytes) values (repeat('a', 64), 1)"))
            raise RuntimeError

    with media_database.begin() as connection:
        with pytest.raises(RuntimeError):
            add_and_fail(connection)
        assert connection.execute(text("select count(*) from media_asset")).scalar_one() == 0
