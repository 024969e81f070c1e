"""What several contract tests use: databases for the ledger (SQLite always, PostgreSQL when one is named or can be
started here), and API servers of lab sites.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text

from edge.ledger import Ledger
from edge.processes import free_port
from tests.contract.lab_kube_site import Host, Site, running_host

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that goes on by a second with each look at it."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


def _somebody() -> pwd.struct_passwd:
    """Who PostgreSQL runs as: us, or another when we are root, which it refuses."""
    us = pwd.getpwuid(os.geteuid())
    if us.pw_uid != 0:
        return us
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _start_postgres(folder: Path) -> tuple[str, Callable[[], None]]:
    """A server of our own: its URL, and what stops it."""
    who = _somebody()
    os.chown(folder, who.pw_uid, who.pw_gid)
    other = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}

    def run(*command: str) -> None:
        # The programs of a server that goes on would keep a pipe open, so what they say goes to a file.
        with (folder / "said").open("ab") as said:
            subprocess.run(command, check=True, stdout=said, stderr=said, cwd=folder, **other)  # type: ignore[call-overload] - one mapping for three keywords

    data, port = str(folder / "data"), free_port()
    run("initdb", "-D", data, "-A", "trust", "-U", "edge", "--no-sync", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run("pg_ctl", "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    url = f"postgresql://edge@127.0.0.1:{port}/postgres"
    return url, lambda: run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server in which databases may be made: `EDGE_TEST_POSTGRES_URL`, or one started for these tests."""
    given = os.environ.get("EDGE_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    if sys.platform != "linux" or not all(shutil.which(tool) for tool in ("initdb", "pg_ctl", "postgres")):
        pytest.skip("neither EDGE_TEST_POSTGRES_URL nor the programs of PostgreSQL are there")
    folder = Path(tempfile.mkdtemp(prefix="edge-pg-"))
    try:
        url, stop = _start_postgres(folder)
        try:
            yield url
        finally:
            stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a fresh, empty PostgreSQL database."""
    server, name = make_url(postgres_server).set(drivername="postgresql+psycopg"), f"edge_{uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        yield server.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a fresh, empty database; each test runs once for each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def clock() -> Clock:
    """The ledger's clock in these tests."""
    return Clock()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables and no rows: copying it takes a tenth of what migrating another one does."""
    file = tmp_path_factory.mktemp("migrated") / "ledger.db"
    Ledger.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def ledger(ledger_url: str, migrated: Path, tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    """An open, empty ledger."""
    if ledger_url.startswith("sqlite"):
        shutil.copy(migrated, tmp_path / "ledger.db")
    with Ledger.open(ledger_url, now=clock) as opened:
        yield opened


@pytest.fixture
def book(migrated: Path, tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    """An open, empty ledger on SQLite alone, for what no database has a say in."""
    shutil.copy(migrated, tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", now=clock) as opened:
        yield opened


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A port on which API servers of lab sites answer."""
    with running_host() as running:
        yield running


@pytest.fixture
def site(host: Host) -> Iterator[Site]:
    """One lab site's API server, fresh for each test."""
    with host.fresh_site() as running:
        yield running
