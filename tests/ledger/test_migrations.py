"""The migrations make exactly the tables that the program believes in, and never take evidence away."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from collector.errors import StoreError
from collector.ledger import database
from collector.ledger.database import Database
from collector.ledger.entry import Draft, Kind
from collector.ledger.store import Ledger
from collector.ledger.tables import metadata

ORIGIN = "ledger.example/acme"


def names(path, kind="table"):
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite_%'"
        return {name for (name,) in connection.execute(query, (kind,))}


def migrate(url, direction, revision):
    """Runs alembic as a person would: by URL, on a connection of its own."""
    config = Config()
    config.set_main_option("script_location", str(database._migrations()))
    config.cmd_opts = type("Options", (), {"x": [f"url={url}"]})()
    getattr(command, direction)(config, revision)


def test_the_tables_on_disk_are_the_tables_in_the_code(ledger, url):
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert set(sa.inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
    engine.dispose()


@pytest.mark.only("sqlite")
def test_every_table_is_strict_and_the_very_same_as_the_code_would_make(ledger):
    ours = sa.create_engine("sqlite://")
    metadata.create_all(ours)
    with ours.connect() as connection:
        expected = connection.exec_driver_sql("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").all()
        columns = {
            name: connection.exec_driver_sql(f"SELECT * FROM pragma_table_xinfo('{name}') ORDER BY cid").all()
            for name in metadata.tables
        }
    ours.dispose()
    with closing(sqlite3.connect(ledger.path)) as connection:
        found = dict(connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall())
        for name, strict in expected:
            if name in metadata.tables:
                assert (found[name], strict) == (1, 1)
                info = connection.execute(f"SELECT * FROM pragma_table_xinfo('{name}') ORDER BY cid").fetchall()
                assert info == columns[name]


@pytest.mark.only("sqlite")
def test_an_empty_ledger_goes_down_and_up_again(ledger, url):
    ledger.close()
    tables, triggers, indexes = (names(ledger.path, kind) for kind in ("table", "trigger", "index"))
    with closing(sqlite3.connect(ledger.path)) as connection:
        connection.execute("DROP TRIGGER head_no_delete")
        connection.execute("DELETE FROM head")
        connection.execute("CREATE TRIGGER head_no_delete BEFORE DELETE ON head BEGIN SELECT 1; END")
        connection.commit()
    migrate(url, "downgrade", "base")
    assert names(ledger.path) == {"alembic_version"}
    assert names(ledger.path, "trigger") == names(ledger.path, "index") == set()
    migrate(url, "upgrade", "head")
    assert (names(ledger.path), names(ledger.path, "trigger"), names(ledger.path, "index")) == (
        tables,
        triggers,
        indexes,
    )
    again = Ledger.open(url, origin=ORIGIN, signer=None, create=True)
    assert again.size() == 0
    again.close()


POSTGRES_NAMES = """
    SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace
    UNION SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal
    UNION SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


@pytest.mark.only("postgres")
def test_an_empty_ledger_in_postgresql_goes_down_and_up_again(ledger, url, vandal):
    ledger.close()
    before = set(vandal.read(POSTGRES_NAMES))
    vandal("DELETE FROM head")
    engine = sa.create_engine(url)
    with engine.begin() as connection:  # the vandal took the guards away; the migration wants to take them away too
        connection.exec_driver_sql("DELETE FROM alembic_version")
        for name in metadata.tables:
            connection.exec_driver_sql(f"DROP TABLE {name} CASCADE")
        for (name,) in connection.exec_driver_sql("SELECT proname FROM pg_proc WHERE proname ~ '_no_[a-z]+$'").all():
            connection.exec_driver_sql(f"DROP FUNCTION {name}()")
    engine.dispose()
    migrate(url, "upgrade", "head")
    assert set(vandal.read(POSTGRES_NAMES)) == before
    for revision in ("-1", "base"):
        migrate(url, "downgrade", revision)
    left = {name for (name,) in vandal.read(POSTGRES_NAMES)}
    assert left == {"alembic_version", "alembic_version_pkc"}
    migrate(url, "upgrade", "head")
    assert set(vandal.read(POSTGRES_NAMES)) == before


def test_an_older_ledger_is_brought_up_to_date_with_everything_that_is_derived(ledger, url, world):
    about = {"cause": "failed", "check": "aws-a", "scope": "aws/1", "key": "one", "event": "trigger", "channels": []}
    with ledger.write() as batch:
        raised = batch.add(Draft(Kind.ALERT, world.at(0), about))
    ledger.close()
    migrate(url, "downgrade", "0003")
    with pytest.raises(StoreError, match="collector db upgrade"):
        Ledger.open(url, origin=ORIGIN, signer=None)
    again = Ledger.open(url, origin=ORIGIN, signer=None, create=True)
    assert again.projection.told_of("one") == [raised]
    again.close()


def test_a_downgrade_never_destroys_evidence(ledger, url, world):
    with ledger.write() as batch:
        world.heartbeat(batch, 0)
    ledger.close()
    with pytest.raises(RuntimeError, match="holds 2 entries; a downgrade would destroy them"):
        migrate(url, "downgrade", "base")
    assert ledger.verify().entries == 2


def test_every_migration_is_on_one_line_from_the_first_to_the_newest():
    config = Config()
    config.set_main_option("script_location", str(database._migrations()))
    script = ScriptDirectory.from_config(config)
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


@pytest.mark.only("sqlite")
def test_a_migration_that_fails_leaves_the_file_as_it_was(url, tmp_path, monkeypatch):
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    shipped = database._migrations()
    (tmp_path / "migrations" / "env.py").write_text((shipped / "env.py").read_text())
    first = (shipped / "versions" / "0001_begin.py").read_text()
    spoiled = first.replace("    derived()\n", '    derived()\n    raise RuntimeError("the power went")\n', 1)
    assert spoiled != first
    (tmp_path / "migrations" / "versions" / "0001_begin.py").write_text(spoiled)
    monkeypatch.setattr(database, "_migrations", lambda: tmp_path / "migrations")
    with pytest.raises(RuntimeError, match="the power went"):
        Database.open(url, create=True)
    assert names(tmp_path / "ledger.db") == set()
    with pytest.raises(StoreError, match="is not a ledger yet; run `collector db upgrade`"):
        Database.open(url, create=False)


def test_migrations_are_found_in_the_wheel_and_in_a_working_copy(monkeypatch, tmp_path):
    root = Path(database.__file__).parents[2]
    assert database._migrations() == root / "alembic"
    wheel = tmp_path / "collector" / "ledger"
    (wheel / "migrations").mkdir(parents=True)
    monkeypatch.setattr(database, "__file__", str(wheel / "database.py"))
    assert database._migrations() == wheel / "migrations"


def test_the_newest_migration_is_named_for_its_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(database._migrations()))
    assert ScriptDirectory.from_config(config).get_current_head() == database.newest_revision()
