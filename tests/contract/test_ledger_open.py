"""Opening a ledger: which databases are taken, and how their tables come to be."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

import edge.ledger.migrations
from edge.errors import CredentialRejected, EdgeError, InvalidInput, LedgerBusy, LedgerMismatch
from edge.ledger import Ledger
from edge.ledger.engine import open_engine
from edge.ledger.tables import REVISION, metadata
from edge.model.site import Site, SiteState


def sqlite(path: Path, query: str = "") -> str:
    return f"sqlite:///{path}{query}"


@pytest.mark.parametrize(
    ("url", "field"),
    [
        pytest.param("mysql://me:hunter2@host/edge", "ledger_url", id="another-database"),
        pytest.param("sqlite://", "ledger_url", id="memory"),
        pytest.param("sqlite:///:memory:", "ledger_url", id="memory-by-name"),
        pytest.param("me:hunter2 what is this", "ledger_url", id="no-url"),
        pytest.param("sqlite:///ledger.db?synchronous=off", "ledger_url", id="not-durable"),
        pytest.param("sqlite:///ledger.db?timeout=soon", "ledger_url", id="patience-is-no-number"),
        pytest.param("postgresql://me:hunter2@host:hunter2/edge", "ledger_url", id="port-is-no-number"),
        pytest.param("postgresql://me:x@hunter2@host/edge", "ledger_url", id="password-not-escaped"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Ledger.open(url)
    assert refused.value.where["field"] == field
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in str(refused.value.__cause__)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput) as refused:
        Ledger.open(sqlite(tmp_path / "file" / "ledger.db"))
    assert refused.value.where["file"].endswith("ledger.db")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"a letter to a friend" * 100)
    with pytest.raises(LedgerMismatch) as refused:
        Ledger.open(sqlite(path))
    assert refused.value.where["ledger"] == str(path)
    assert path.read_bytes() == b"a letter to a friend" * 100


def test_the_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.db"
    with Ledger.open(sqlite(path)) as ledger:
        ledger.sites.put(Site(name="s1"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


@pytest.mark.parametrize(
    ("query", "level"), [pytest.param("", 1, id="normal"), pytest.param("?synchronous=full", 2, id="full")]
)
def test_sqlite_is_as_durable_as_asked_and_writes_ahead(tmp_path: Path, query: str, level: int) -> None:
    url = sqlite(tmp_path / "ledger.db", query)
    Ledger.open(url).close()
    engine = open_engine(url)
    with engine.connect() as connection:
        found = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("synchronous", "journal_mode")]
    engine.dispose()
    assert found == [level, "wal"]


def test_a_server_that_is_away_is_a_busy_ledger() -> None:
    with pytest.raises(LedgerBusy) as busy:
        Ledger.open("postgresql://me:hunter2@127.0.0.1:1/edge?sslpassword=hunter2")
    assert busy.value.where["ledger"] == "127.0.0.1:1/edge"
    assert "hunter2" not in str(busy.value)


@pytest.mark.parametrize(
    ("part", "value", "kind"),
    [
        pytest.param("username", "stranger", CredentialRejected, id="user"),
        pytest.param("database", "nowhere", LedgerMismatch, id="database"),
    ],
)
def test_what_postgres_does_not_know_is_no_matter_of_trying_again(
    postgres_url: str, part: str, value: str, kind: type[EdgeError]
) -> None:
    with pytest.raises(kind):
        Ledger.open(make_url(postgres_url).set(**{part: value}).render_as_string(hide_password=False))  # type: ignore[arg-type] - a keyword from a table


def test_what_was_written_is_there_when_opened_again(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        ledger.sites.put(Site(name="s1"))
        chain = ledger.audit.verify()
    with Ledger.open(ledger_url, migrate=False) as ledger:
        assert ledger.sites.get("s1") == Site(name="s1")
        assert ledger.audit.verify() == chain


def test_a_fresh_database_is_not_touched_without_leave(ledger_url: str) -> None:
    with pytest.raises(LedgerMismatch):
        Ledger.open(ledger_url, migrate=False)
    Ledger.open(ledger_url).close()


def test_a_database_of_a_newer_version_is_refused(ledger_url: str) -> None:
    Ledger.open(ledger_url).close()
    engine = open_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(LedgerMismatch, match="9999"):
        Ledger.open(ledger_url)


def test_many_threads_open_a_fresh_database_at_once(ledger_url: str) -> None:
    faults: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with Ledger.open(ledger_url) as ledger:
                ledger.sites.put(Site(name=f"s{number}"))
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is what the test is about
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with Ledger.open(ledger_url) as ledger:
        assert len(ledger.sites.list()) == 6


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(ledger_url: str) -> None:
    Ledger.open(ledger_url).close()
    engine = open_engine(ledger_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    engine.dispose()
    assert differences == []


FIRST_ROWS = (
    "INSERT INTO tenants VALUES ('factory', '')",
    "INSERT INTO sites (name, tenant, region, role, labels, when_offline, time_zone, state) "
    "VALUES ('s1', 'factory', 'emea', 'edge', '{}', 'normal', 'UTC', 'connected')",
    "INSERT INTO devices (device_id, state, registration, key, registered_at, tenant, site, reason) "
    """VALUES ('dev-1', 'connected', '{"device_id": "dev-1", "certificate": "c", "facts": {"serial": "SN-1"}}', """
    "'aa', '2026-03-01 08:00:00', 'factory', 's1', '')",
    "INSERT INTO claims (device_id, key, registration, first_at, last_at) "
    """VALUES ('dev-1', 'unreadable:bb', '{"device_id": "dev-1", "certificate": "d", "facts": {"serial": "SN-1"}}', """
    "'2026-03-01 08:00:00', '2026-03-01 08:00:00')",
    "INSERT INTO inbox "
    "(sequence, source, id, type, subject, time, data, digest, state, received_at, sends, claimed_by) VALUES "
    "(1, 'factory', 'e1', 't', '', '2026-03-01 08:00:00', '{}', 'cc', 'stored', '2026-03-01 08:00:00', 0, '')",
)


def make_first_tables(url: str) -> None:
    """A database as the first migration left it, with a row in each table that the second one changes."""
    engine = open_engine(url)
    config = Config()
    config.set_main_option("script_location", str(Path(edge.ledger.migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for row in FIRST_ROWS:
            connection.exec_driver_sql(row)
    engine.dispose()


def test_a_database_of_the_first_version_is_upgraded_and_keeps_its_rows(ledger_url: str) -> None:
    make_first_tables(ledger_url)
    with Ledger.open(ledger_url) as ledger:
        site = Site(name="s1", tenant="factory", region="emea", state=SiteState.CONNECTED)
        assert ledger.sites.get("s1") == site
        device = ledger.devices.get("dev-1")
        assert (device.state, device.site, device.via, device.generation) == ("connected", "s1", "event", 1)
        assert [claim.key for claim in ledger.devices.claims("dev-1")] == ["unreadable:bb"]
        assert [stored.via for stored in ledger.inbox.pending()] == ["event"]
        ledger.devices.touch("dev-1", device.registered_at)
        ledger.audit.append("me", "login", "me")
        assert ledger.audit.verify().count == 1
    engine = open_engine(ledger_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT key FROM devices")).scalar() == "unproven:aa"
        with pytest.raises(DBAPIError, match="append-only"):
            connection.execute(text("DELETE FROM audit"))
    engine.dispose()


def test_the_newest_migration_is_the_one_that_the_code_asks_for() -> None:
    folder = Path(edge.ledger.migrations.__file__).parent
    assert ScriptDirectory(str(folder)).get_heads() == [REVISION]


def test_a_ledger_that_answers_passes_the_check(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        ledger.check()


def test_a_database_that_is_gone_fails_the_check(postgres_server: str, postgres_url: str) -> None:
    server = create_engine(make_url(postgres_server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with Ledger.open(postgres_url) as ledger:
        name = make_url(postgres_url).database
        with server.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"))
            connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        with pytest.raises(EdgeError):
            ledger.check()
        with server.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"))
        ledger.sites.put(Site(name="s1"))
        assert ledger.sites.get("s1") == Site(name="s1")
    server.dispose()


def test_a_ledger_that_a_process_opens_twice_outlives_the_others_of_another_process(tmp_path: Path) -> None:
    """SQLite's locks belong to a process: one that lost them has its log deleted by the next one that closes."""
    url = sqlite(tmp_path / "ledger.db")
    elsewhere = f"from edge.ledger import Ledger; Ledger.open({url!r}).close()"
    with Ledger.open(url) as first:
        first.sites.put(Site(name="before"))
        with Ledger.open(url) as second:
            subprocess.run([sys.executable, "-c", elsewhere], check=True)
            assert (tmp_path / "ledger.db-wal").exists()
            second.sites.put(Site(name="between"))
        first.sites.put(Site(name="after"))
        with Ledger.open(url) as third:
            assert {site.name for site in third.sites.list()} == {"before", "between", "after"}
