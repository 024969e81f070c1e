"""`edge device pcrs`: a registered device's boot becomes a reference set that it then fits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from edge.cli import device
from edge.lab.ca import Authority
from edge.lab.tpm import SoftTpm
from edge.ledger import Ledger
from edge.model.admission import AdmissionPolicy
from edge.model.device import Attestation, DeviceFacts, Registration
from edge.policy.tpm import quoted
from edge.policy.tpm_pcrs import fitting_reference

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
FACTS = DeviceFacts(serial="SN-1", model="gw-100", firmware="1.2")


@pytest.fixture
def attestation(tmp_path: Path) -> Attestation:
    tpm = SoftTpm.open(tmp_path / "gw-1", Authority.open(tmp_path / "maker", "Maker of TPMs"), "SN-1")
    tpm.boot({0: (b"firmware 1.2",), 7: (b"keys",)})
    return tpm.attest("a-nonce-of-the-test")


@pytest.fixture
def url(tmp_path: Path, attestation: Attestation) -> str:
    lied = attestation.model_copy(update={"pcrs": {"sha256": {**attestation.pcrs["sha256"], "0": "00" * 32}}})
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Ledger.open(url) as ledger:
        for name, told in (("gw-1", attestation), ("liar", lied), ("plain", None)):
            registration = Registration(device_id=name, certificate="none", facts=FACTS, attestation=told)
            ledger.devices.register(registration, at=AT)
    return url


def pcrs(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(device.app, ["pcrs", *arguments], env={"EDGE_LEDGER_URL": url, "PREFECT_API_URL": None})


def test_a_boot_becomes_a_reference_set_that_it_fits(url: str, attestation: Attestation) -> None:
    said = pcrs(url, "gw-1")
    assert said.exit_code == 0, said.output
    policy = AdmissionPolicy.model_validate(yaml.safe_load(said.stdout))
    values = quoted(attestation)[1]
    assert fitting_reference(values, policy.boot_references, model="gw-100") == "gw-100 1.2"


def test_only_the_pcrs_asked_for_are_printed(url: str) -> None:
    said = json.loads(pcrs(url, "gw-1", "--pcr", "7", "--pcr", "0", "--name", "good", "--json").stdout)
    assert [sorted(found["pcrs"]["sha256"]) for found in said["bootReferences"]] == [["0", "7"]]
    assert said["bootReferences"][0]["name"] == "good"


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        pytest.param(("liar",), 1, "not the ones that were quoted", id="values-that-were-not-quoted"),
        pytest.param(("plain",), 2, "without an attestation", id="no-attestation"),
        pytest.param(("gw-1", "--pcr", "14"), 2, "did not quote this PCR", id="pcr-not-quoted"),
        pytest.param(("nobody",), 1, "nobody", id="no-device"),
    ],
)
def test_nothing_is_printed_of_a_boot_that_is_not_quoted(
    url: str, arguments: tuple[str, ...], code: int, what: str
) -> None:
    said = pcrs(url, *arguments)
    assert (said.exit_code, said.stdout) == (code, "")
    assert what in " ".join(said.stderr.split())


def test_a_tpm_keeps_its_keys(tmp_path: Path) -> None:
    maker = Authority.open(tmp_path / "maker", "Maker of TPMs")
    first, again = (SoftTpm.open(tmp_path / "gw-1", maker, "SN-1") for _ in range(2))
    assert (first.ek_certificate, first.ak_public) == (again.ek_certificate, again.ak_public)
