"""The demonstration, as a newcomer runs it: it ends well, says so, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from edge.ledger import Ledger


def test_the_demonstration_stamps_every_site_that_is_there_and_leaves_nothing_running(
    tmp_path: Path, processes_of: Any
) -> None:
    home = tmp_path / "home"
    environment = {**os.environ, "EDGE_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "edge", "platform", "demo", "--json"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["good"]
    assert said["title"].startswith("11 sites stamped, 1 expected-offline")
    rows = [dict(zip(said["columns"], row, strict=True)) for row in said["rows"]]
    assert sorted(row["onboarding"] for row in rows) == ["by kubeconfig", *["connected"] * 11]
    assert sorted(row["factory-line"] for row in rows) == ["expected-offline", *["succeeded"] * 11]
    assert processes_of(home) == {}
    port = re.search(r"http://127\.0\.0\.1:(\d+)", said["title"])
    assert port is not None
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port[1]))) != 0, "the server still listens"
    with Ledger.open(f"sqlite:///{home / 'demo' / 'ledger.db'}") as ledger:
        assert len(ledger.sites.list()) == 12
        assert ledger.audit.verify().count > 0
