"""The attestation check against a real TPM 2.0 in software (swtpm), driven by tpm2-tools.

The endorsement keys are the TPM's own; their certificates are made by the test, as a maker would make them.
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from edge.errors import IdentityRefused
from edge.lab.ca import Authority
from edge.lab.tpm import endorsement_certificate
from edge.model.admission import AdmissionPolicy, Challenge, PcrReference, Trust
from edge.model.device import Attestation
from edge.policy.tpm import check_attestation, qualifying_data
from edge.policy.tpm_credential import activation_answer, make_credential
from edge.policy.tpm_ek import EkPublic
from edge.policy.tpm_key import read_ak

NOW = datetime.now(UTC)
NONCE = "a-nonce-of-the-contract-test"
SECRET, SEED = b"secret of thirty-two bytes......", b"seed of thirty-two bytes........"
PCRS = (0, 1, 4, 7)
KINDS = [
    pytest.param("ecc", "ecc", "ecdsa", id="p256"),
    pytest.param("ecc384", "ecc384", "ecdsa", id="p384"),
    pytest.param("rsa", "rsa", "rsassa", id="rsa-pkcs1"),
    pytest.param("rsa", "rsa", "rsapss", id="rsa-pss"),
]

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("swtpm", "tpm2_quote")), reason="swtpm and tpm2-tools are not installed"
)


@dataclass(frozen=True)
class RealTpm:
    """A TPM that runs, and the folder in which its tools leave their files."""

    folder: Path

    def run(self, tool: str, *arguments: str) -> str:
        command = (f"tpm2_{tool}", "-T", f"swtpm:path={self.folder / 'tpm'}", *arguments)
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        # There is no resource manager: what a tool leaves loaded would take the few places of the TPM.
        if tool in {"createek", "createak", "quote", "activatecredential"}:
            self.run("flushcontext", "-t")
        return done.stdout

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def text(self, name: str) -> str:
        return base64.b64encode(self.read(name)).decode()

    def pcrs(self) -> dict[str, str]:
        said = self.run("pcrread", f"sha256:{','.join(map(str, PCRS))}")
        return {index: value.lower() for index, value in re.findall(r"(\d+) *: 0x([0-9A-F]{64})", said)}


@pytest.fixture(scope="module")
def tpm() -> Iterator[RealTpm]:
    folder = Path(tempfile.mkdtemp(prefix="edge-tpm-"))
    (folder / "state").mkdir()
    socket, control = folder / "tpm", folder / "tpm.ctrl"
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder / 'state'}"]
    command += ["--server", f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={control}"]
    command += ["--flags", "not-need-init,startup-clear"]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        for _ in range(200):
            if socket.exists() and control.exists():
                break
            time.sleep(0.02)
        yield RealTpm(folder)
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("maker") / "tpm-maker", "TPM maker of the test")


def keys(tpm: RealTpm, maker: Authority, kinds: tuple[str, str, str]) -> str:
    """Make the endorsement and the attestation key; the endorsement certificate."""
    ek, ak, scheme = kinds
    tpm.run("createek", "-c", "ek.ctx", "-G", ek, "-f", "pem", "-u", "ek.pem")
    how = ("-G", ak, "-g", "sha256", "-s", scheme)
    tpm.run("createak", "-C", "ek.ctx", "-c", "ak.ctx", *how, "-u", "ak.pub", "-n", "ak.name")
    public = load_pem_public_key(tpm.read("ek.pem"))
    assert isinstance(public, EkPublic)
    return endorsement_certificate(maker, public, "0001")


def activate(tpm: RealTpm, ek_certificate: str) -> Challenge:
    """A challenge of ours, with the credential that we make."""
    made = make_credential(ek_certificate, tpm.text("ak.pub"), secret=SECRET, seed=SEED)
    # The file of tpm2-tools: their own magic and version, then the two structures.
    header = bytes.fromhex("badcc0de00000001")
    blob = header + base64.b64decode(made.id_object) + base64.b64decode(made.secret)
    (tpm.folder / "credential").write_bytes(blob)
    return Challenge(
        nonce=NONCE,
        device_id="gw-1",
        issued_at=NOW,
        expires_at=NOW + timedelta(minutes=5),
        activation=activation_answer(SECRET, NONCE),
        ak_name=made.ak_name,
        ek_fingerprint=made.ek_fingerprint,
    )


def recovered(tpm: RealTpm, *, high_range: bool) -> bytes:
    """The secret in the credential. Keys of the high range have the owner's empty password, others a policy."""
    where = ("-c", "ak.ctx", "-C", "ek.ctx", "-i", "credential", "-o", "recovered")
    if high_range:
        tpm.run("activatecredential", *where)
        return tpm.read("recovered")
    tpm.run("startauthsession", "--policy-session", "-S", "session.ctx")
    tpm.run("policysecret", "-S", "session.ctx", "-c", "e")
    tpm.run("activatecredential", *where, "-P", "session:session.ctx")
    tpm.run("flushcontext", "session.ctx")
    return tpm.read("recovered")


def attestation(tpm: RealTpm, ek_certificate: str, secret: bytes, scheme: str) -> Attestation:
    selection = f"sha256:{','.join(map(str, PCRS))}"
    out = ("-m", "quote", "-s", "signature", "-g", "sha256", "-q", qualifying_data(NONCE).hex(), "--scheme", scheme)
    tpm.run("quote", "-c", "ak.ctx", "-l", selection, *out)
    return Attestation(
        ek_certificate=ek_certificate,
        ak_public=tpm.text("ak.pub"),
        quote=tpm.text("quote"),
        signature=tpm.text("signature"),
        pcrs={"sha256": tpm.pcrs()},
        activation=activation_answer(secret, NONCE),
    )


def trust(maker: Authority, pcrs: dict[str, str]) -> Trust:
    reference = PcrReference(name="as-shipped", pcrs={"sha256": {index: (value,) for index, value in pcrs.items()}})
    anchor = maker.certificate.public_bytes(Encoding.PEM).decode()
    return Trust(anchors=(), tpm_anchors=(anchor,), policy=AdmissionPolicy(boot_references=(reference,)))


def checked(attestation: Attestation, challenge: Challenge, trust: Trust) -> str:
    fingerprint = challenge.ek_fingerprint
    return check_attestation(
        attestation, challenge=challenge, trust=trust, model="m", ek_fingerprint=fingerprint, now=NOW
    )


@pytest.mark.parametrize("kinds", [pytest.param(case.values, id=case.id) for case in KINDS])
def test_a_real_tpm_is_let_in_until_its_boot_differs(
    tpm: RealTpm, maker: Authority, kinds: tuple[str, str, str]
) -> None:
    ek_certificate = keys(tpm, maker, kinds)
    assert read_ak(tpm.text("ak.pub")).name == tpm.read("ak.name")
    trusted = trust(maker, tpm.pcrs())
    challenge = activate(tpm, ek_certificate)
    secret = recovered(tpm, high_range=kinds[0] == "ecc384")
    assert secret == SECRET
    assert checked(attestation(tpm, ek_certificate, secret, kinds[2]), challenge, trusted) == "as-shipped"

    tpm.run("pcrextend", f"4:sha256={'a5' * 32}")
    with pytest.raises(IdentityRefused, match="PCR 4 of sha256 is ") as refusal:
        checked(attestation(tpm, ek_certificate, secret, kinds[2]), challenge, trusted)
    assert refusal.value.where["reason"] == "pcr-mismatch"


def test_a_real_certificate_of_the_test_is_one_of_an_endorsement_key(maker: Authority, tpm: RealTpm) -> None:
    leaf = x509.load_pem_x509_certificate(keys(tpm, maker, ("ecc", "ecc", "ecdsa")).encode())
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
