"""What a sender is told when the ledger says no, and that a gateway without the means to work does not start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli.main import app
from edge.errors import EdgeError, InvalidInput, LedgerBusy, LedgerMismatch
from edge.gateway.refusal import answer_refusal, refused_by_ledger


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        pytest.param(LedgerMismatch("Another event", id="1"), 409, "conflict", id="same-id-other-content"),
        pytest.param(LedgerBusy("Locked"), 503, "busy", id="no-answer"),
        pytest.param(InvalidInput("A fault of ours"), 500, "fault", id="anything-else"),
    ],
)
def test_the_senders_answer_follows_the_ledgers(error: EdgeError, status: int, reason: str) -> None:
    answer = answer_refusal(refused_by_ledger(error))
    said = json.loads(bytes(answer.body))
    assert (answer.status_code, said["reason"], said["error"]) == (status, reason, error.what)
    assert ("Retry-After" in answer.headers) == (status == 503)


@pytest.mark.parametrize(
    ("tokens", "options", "field"),
    [
        pytest.param("[]", [], "tokens", id="no-secret"),
        pytest.param('["short"]', [], "tokens", id="short-secret"),
        pytest.param(
            '["long-enough-for-a-token"]', ["--tls-certificate", "absent.pem"], "--tls-certificate", id="no-file"
        ),
        pytest.param('["long-enough-for-a-token"]', ["--name", "No Label"], "name", id="bad-name"),
    ],
)
def test_serve_refuses_what_it_cannot_work_with(tokens: str, options: list[str], field: str, tmp_path: Path) -> None:
    environment = {"EDGE_GATEWAY_TOKENS": tokens, "EDGE_GATEWAY_HMAC_KEYS": "[]", "EDGE_HOME": str(tmp_path)}
    done = CliRunner().invoke(app, ["gateway", "serve", "--json", *options], env=environment)
    said = json.loads(done.stderr)
    assert (done.exit_code, said["where"]["field"]) == (2, field)
    assert "short" not in said["error"]
    assert list(tmp_path.iterdir()) == []
