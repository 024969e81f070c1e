"""Plays devices of the lab, honestly: what a real device would have to prove, they prove with their own keys.

A device asks for a challenge, signs its registration with the key of its certificate, and sends it. With a TPM it
attests its boot, with a voucher it shows to whom it belongs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from edge.errors import InvalidInput, Rejected, SiteUnreachable
from edge.lab.tpm import SoftTpm
from edge.model.device import Attestation, DeviceFacts, Endorsement, Registration
from edge.policy.event import EventType
from edge.policy.proof import sign
from edge.policy.tpm_credential import activation_answer

SOURCE = "/lab/factory"
BATCH = 20
"""Events in one request: the gateway stores a batch as a whole."""
_TIMEOUT_S = 30.0


class LabDevice:
    """One device: its certificate and key, what it says of itself, and what else it has to show."""

    def __init__(
        self,
        device_id: str,
        stem: Path,
        *,
        facts: DeviceFacts | None = None,
        voucher: str = "",
        tpm: SoftTpm | None = None,
    ) -> None:
        """Read `<stem>.crt` and `<stem>.key`. Raises InvalidInput when they cannot be read."""
        self.device_id = device_id
        self.voucher = voucher
        self.tpm = tpm
        try:
            self.certificate = Path(f"{stem}.crt").read_text()
            leaf = x509.load_pem_x509_certificates(self.certificate.encode())[0]
            self.key: Any = load_pem_private_key(Path(f"{stem}.key").read_bytes(), None)
        except (OSError, ValueError) as error:
            raise InvalidInput("The device's certificate or key cannot be read", file=f"{stem}.crt") from error
        serial = [str(part.value) for part in leaf.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)]
        self.facts = facts or DeviceFacts(serial=(serial or [device_id])[0])

    @classmethod
    def of_lab(cls, said: Mapping[str, Any], site: Mapping[str, Any], **shows: Any) -> LabDevice:
        """A device of a lab that runs: `said` is what `edge lab up --json` printed, `site` one of its sites."""
        device_id = site["device_id"]
        made = cls(device_id, Path(said["manufacturer"]["devices"]) / device_id, **shows)
        told = {"model": "lab-gateway", "architecture": "amd64", "location": site["region"]}
        made.facts = DeviceFacts.model_validate({"serial": made.facts.serial, **told})
        return made

    def challenge_request(self) -> dict[str, Any]:
        """What it asks for a challenge with."""
        if self.tpm is None:
            return {"device_id": self.device_id}
        keys = {"ek_certificate": self.tpm.ek_certificate, "ak_public": self.tpm.ak_public}
        return {"device_id": self.device_id, "attestation": keys}

    def registration(self, challenge: Mapping[str, Any] | None = None) -> Registration:
        """Its registration, which answers the challenge; without one it proves nothing."""
        made: dict[str, Any] = {"device_id": self.device_id, "certificate": self.certificate, "facts": self.facts}
        if self.voucher:
            made["voucher"] = self.voucher
        if challenge is None:
            return Registration.model_validate(made)
        if self.tpm is not None:
            made["attestation"] = self._attested(self.tpm, challenge)
        bare = Registration.model_validate(made)
        return Registration.model_validate({**made, "proof": sign(self.key, bare, challenge["nonce"])})

    def event(self, challenge: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Its registration as a CloudEvent."""
        return cloud_event(EventType.REGISTERED, sent(self.registration(challenge)))

    def reset_event(self, challenge: Mapping[str, Any]) -> dict[str, Any]:
        """What it sends after it was wiped."""
        return cloud_event(EventType.RESET, sent(self.registration(challenge)))

    def renewal_event(self, new: LabDevice, challenge: Mapping[str, Any]) -> dict[str, Any]:
        """What it sends when it has become `new`, the same device with a new certificate; its old key vouches."""
        registration = new.registration(challenge)
        bare = registration.model_copy(update={"proof": None})
        word = sign(self.key, bare, challenge["nonce"])
        endorsement = Endorsement(algorithm=word.algorithm, signature=word.signature)
        return cloud_event(
            EventType.RENEWED, {"registration": sent(registration), "endorsement": endorsement.model_dump()}
        )

    def register_over_http(self, url: str, token: str) -> Registration:
        """Ask the gateway for a challenge and register; answers what was sent. Raises Rejected, SiteUnreachable."""
        with gateway_client(url, token) as gateway:
            event = self.event(ask_for_challenge(gateway, self))
            send(gateway, [event])
        return Registration.model_validate(event["data"])

    @staticmethod
    def _attested(tpm: SoftTpm, challenge: Mapping[str, Any]) -> Attestation:
        credential = challenge.get("credential")
        activation = ""
        if credential:
            activation = activation_answer(
                tpm.activate(credential["id_object"], credential["secret"]), challenge["nonce"]
            )
        return tpm.attest(challenge["nonce"], activation=activation)


def gateway_client(url: str, token: str) -> httpx.Client:
    """A connection to the gateway that stays open over many requests."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT_S)


def ask_for_challenge(gateway: httpx.Client, device: LabDevice) -> dict[str, Any]:
    """Raises Rejected when the gateway gives none, SiteUnreachable when it is away."""
    answer = _post(gateway, "/challenges", device.challenge_request(), "application/json")
    if answer.status_code != httpx.codes.CREATED:
        raise _refused(answer, device=device.device_id)
    found: dict[str, Any] = answer.json()
    return found


def send(gateway: httpx.Client, events: list[dict[str, Any]]) -> dict[str, int]:
    """Send events as one batch; answers what the gateway says it took. Raises Rejected, SiteUnreachable."""
    answer = _post(gateway, "/events", events, "application/cloudevents-batch+json")
    if answer.status_code != httpx.codes.ACCEPTED:
        raise _refused(answer)
    found: dict[str, int] = answer.json()
    return found


def register_all(gateway: httpx.Client, devices: Iterable[LabDevice]) -> Iterator[int]:
    """Register them one after another over one connection, some in one request; yields how many it were each time."""
    waiting = iter(devices)
    while some := list(islice(waiting, BATCH)):
        send(gateway, [device.event(ask_for_challenge(gateway, device)) for device in some])
        yield len(some)


def sent(registration: Registration) -> dict[str, Any]:
    """The registration as it goes over the wire: what is not there is not said."""
    return registration.model_dump(mode="json", exclude_unset=True)


def cloud_event(kind: EventType, data: dict[str, Any]) -> dict[str, Any]:
    """A CloudEvent in the structured form, made now."""
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": SOURCE,
        "type": str(kind),
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": data,
    }


def _post(gateway: httpx.Client, path: str, body: object, kind: str) -> httpx.Response:
    try:
        return gateway.post(path, json=body, headers={"Content-Type": kind})
    except httpx.HTTPError as error:
        raise SiteUnreachable("The gateway cannot be reached", fault=type(error).__name__) from error


def _refused(answer: httpx.Response, **where: str) -> Rejected:
    return Rejected("The gateway refused a device", status=answer.status_code, said=answer.text[:500], **where)
