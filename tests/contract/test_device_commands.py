"""`edge device explain` and `edge device timings`: what they print of a ledger that was filled through its books."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner, Result

from edge.cli import device
from edge.cli.device_summary import emit_summary, summarised
from edge.errors import EdgeError, IdentityRefused, Rejected
from edge.ledger import Ledger
from edge.model.device import DeviceFacts, DeviceState, Registration
from edge.model.site import Site
from edge.model.step import Detail, StepKey
from edge.policy.onboarding import attempt_key, onboarding_work

Edge = Callable[..., Result]
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = """
apiVersion: edge-platform.io/v1
kind: AssignmentRules
rules:
- {name: mills, when: device.model == "mill", site: "site-${device.id}", tenant: factory, labels: {kind: mill}}
"""
EXPIRED = IdentityRefused("The certificate expired", remedy="Renew it", device="dev-bad", reason="expired")
NO_RULE = IdentityRefused(
    "No assignment rule matches this device", remedy="Add a rule", device="dev-odd", reason="no-rule"
)
SKEW = Rejected("The clock is 900 s behind", remedy="Set the site's clock", codes="arc-clock-skew")


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edge:
    """Runs a command without a Prefect server; the ledger holds one device of each kind of end."""
    url, rules = f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "rules.yaml"
    rules.write_text(RULES)
    monkeypatch.setenv("EDGE_LEDGER_URL", url)
    monkeypatch.setenv("EDGE_ASSIGNMENT", str(rules))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with Ledger.open(url) as ledger:
        for name, model in (("dev-in", "mill"), ("dev-bad", "mill"), ("dev-odd", "kiosk"), ("dev-late", "mill")):
            register(ledger, name, model)
        connected(ledger, "dev-in")
        ended(ledger, "dev-bad", DeviceState.QUARANTINED, "identity", EXPIRED)
        ended(ledger, "dev-odd", DeviceState.QUARANTINED, "", NO_RULE)
        ended(ledger, "dev-late", DeviceState.FAILED, "connect", SKEW)
    return lambda *arguments: CliRunner().invoke(device.app, list(arguments))


def register(ledger: Ledger, name: str, model: str) -> None:
    facts = DeviceFacts(serial=f"SN-{name}", model=model)
    ledger.devices.register(Registration(device_id=name, certificate="none", facts=facts), at=AT)


def step(ledger: Ledger, name: str, of: str, detail: Detail) -> None:
    work = onboarding_work(ledger.devices.get(name))
    ledger.steps.once(StepKey(work=work, subject=name, step=of), lambda: detail)


def connected(ledger: Ledger, name: str) -> None:
    ledger.sites.put(Site(name="site-dev-in", tenant="default"))
    step(ledger, name, "identity", {"issuer": "CN=Maker", "owner": "", "attested": False})
    step(ledger, name, "assign", {"site": "site-dev-in", "rule": "mills"})
    step(ledger, name, "connect", {"decision": "new", "agents_s": 1.5})
    step(ledger, name, "baseline", {"objects": 12})
    step(ledger, name, "verify", {"probes": ["a privileged pod", "a modest pod"]})
    ledger.devices.move(name, DeviceState.CONNECTED, site="site-dev-in", tenant="default")


def ended(ledger: Ledger, name: str, state: DeviceState, at_step: str, error: EdgeError) -> None:
    """As an onboarding does it: steps, the whole try, the state. Without a step the refusal came between two."""
    found = ledger.devices.get(name)
    if at_step != "identity":
        step(ledger, name, "identity", {"issuer": "CN=Maker"})
    if at_step:
        fail(ledger, StepKey(work=onboarding_work(found), subject=name, step=at_step), error)
    fail(ledger, attempt_key(found), error)
    ledger.devices.move(name, state, reason=str(error))


def fail(ledger: Ledger, key: StepKey, error: EdgeError) -> None:
    def effect() -> NoReturn:
        raise error

    with pytest.raises(type(error)):
        ledger.steps.once(key, effect)


@pytest.mark.parametrize(
    ("name", "state", "code", "reason", "rule", "advice"),
    [
        pytest.param("dev-in", "connected", None, None, "mills", None, id="connected"),
        pytest.param(
            "dev-bad", "quarantined", "identity-refused", "expired", "mills", "Renew it", id="bad-certificate"
        ),
        pytest.param("dev-odd", "quarantined", "identity-refused", "no-rule", None, "Add a rule", id="no-rule"),
        pytest.param("dev-late", "failed", "rejected", "arc-clock-skew", "mills", "Set the site's clock", id="failed"),
    ],
)
def test_why_a_device_is_where_it_is_as_json(
    edge: Edge, name: str, state: str, code: str | None, reason: str | None, rule: str | None, advice: str | None
) -> None:
    said = edge("explain", name, "--json")
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    cause = told["stopped_by"] or {}
    assert (told["state"], told["rules"]["rule"]) == (state, rule)
    assert (cause.get("code"), cause.get("reason")) == (code, reason)
    assert (told["advice"] or [None])[0] == advice


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param(
            "dev-in",
            (
                "dev-in is connected",
                "rule 'mills'",
                "kind=mill",
                "attested: no",
                "probes: a privileged pod, a modest pod",
            ),
            id="connected",
        ),
        pytest.param("dev-bad", ("identity-refused (expired)", "What to do: Renew it"), id="bad-certificate"),
        pytest.param("dev-odd", ("no rule matches", "edge device explain dev-odd --rules FILE"), id="no-rule"),
        pytest.param("dev-late", ("rejected (arc-clock-skew)", "edge device retry dev-late"), id="failed"),
    ],
)
def test_why_a_device_is_where_it_is_as_a_table(edge: Edge, name: str, words: tuple[str, ...]) -> None:
    said = edge("explain", name)
    assert said.exit_code == 0, said.output
    shown = " ".join(said.stdout.split())
    assert [word for word in words if word not in shown] == []
    assert "owner: " not in shown, "what a step left empty is not shown"


def test_other_rules_are_tried_without_changing_anything(edge: Edge, tmp_path: Path) -> None:
    tried = tmp_path / "tried.yaml"
    tried.write_text(RULES + '- {name: kiosks, when: device.model == "kiosk", site: site-kiosk}\n')
    told = json.loads(edge("explain", "dev-odd", "--rules", str(tried), "--json").stdout)
    assert (told["rules"]["rule"], told["rules"]["source"], told["state"]) == ("kiosks", str(tried), "quarantined")
    assert json.loads(edge("explain", "dev-odd", "--json").stdout)["rules"]["rule"] is None


def test_an_unknown_device_and_bad_rules_are_told_apart(edge: Edge, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("rules: 3")
    assert edge("explain", "nobody").exit_code == 1
    assert edge("explain", "dev-in", "--rules", str(bad)).exit_code == 2


def test_where_the_time_went_as_json(edge: Edge) -> None:
    said = edge("timings", "--json")
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    spans = {span["name"]: span for span in told["spans"]}
    assert told["devices"] == 4
    assert (spans["connect"]["devices"], spans["connect"]["failed"]) == (1, 1)
    assert (spans["agents"]["part_of"], spans["agents"]["median_s"]) == ("connect", 1.5)
    assert {(one["step"], one["code"], one["reason"]) for one in told["failures"]} == {
        ("identity", "identity-refused", "expired"),
        ("assign", "identity-refused", "no-rule"),
        ("connect", "rejected", "arc-clock-skew"),
    }


def test_where_the_time_went_as_a_table(edge: Edge) -> None:
    said = edge("timings", "--step", "connect", "--since", "7d")
    assert said.exit_code == 0, said.output
    assert "Onboarding of 4 devices" in said.stdout
    assert "identity" not in said.stdout
    shown = " ".join(said.stdout.split())
    assert "Failures by cause" in shown
    assert edge("timings", "--since", "soon").exit_code == 2


def test_a_device_that_has_left_is_not_said_to_be_on_its_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        register(ledger, "dev-new", "mill")
        register(ledger, "dev-gone", "mill")
        ledger.devices.release("dev-gone", state=DeviceState.DECOMMISSIONED)
        found = summarised(ledger, ["dev-new", "dev-gone"], known=["dev-gone"])
    assert (found.devices, found.on_their_way, found.gone, found.not_in) == (2, 1, 1, 2)
    emit_summary(found, as_json=False)
    assert "1 on their way, 1 decommissioned; 1 of them on record already" in capsys.readouterr().out
