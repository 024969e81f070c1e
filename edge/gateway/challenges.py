"""Gives devices challenges: a fresh nonce to sign, so that a copied certificate is not enough.

A device with a TPM sends the public part of its attestation key along, and gets a credential that only the TPM with
that key and that endorsement certificate can open.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field, ValidationError

from edge.errors import IdentityRefused, InvalidInput, Throttled
from edge.gateway.refusal import Reason, Refused
from edge.gateway.settings import IntakeSettings
from edge.ledger import Ledger
from edge.model.admission import Challenge
from edge.model.base import Value
from edge.model.names import DeviceId
from edge.policy.tpm_credential import TpmCredential, activation_answer, make_credential
from edge.policy.tpm_ek import read_ek

_LOOK_EVERY = timedelta(minutes=1)
_KEPT = timedelta(hours=1)
NONCE_BYTES = SECRET_BYTES = SEED_BYTES = 32


class AttestationKeys(Value):
    """The TPM that the device says it has: its endorsement certificate (PEM) and attestation key (base64)."""

    ek_certificate: str = Field(max_length=65536)
    ak_public: str = Field(max_length=8192)


class ChallengeRequest(Value):
    """Which device asks."""

    device_id: DeviceId
    attestation: AttestationKeys | None = None


def read_request(body: object, *, device_id: str | None = None) -> ChallengeRequest:
    """The request in a JSON body. With `device_id`, from an MQTT topic, the body need not name it, and names no other.

    Raises Refused.
    """
    if not isinstance(body, Mapping):
        raise _unusable(
            InvalidInput("A challenge is asked for with a JSON object", field="body", value=str(body)[:200])
        )
    try:
        request = ChallengeRequest.model_validate({"device_id": device_id, **body} if device_id else body)
    except ValidationError as error:
        fault: Any = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise _unusable(InvalidInput(fault["msg"], field=field, value=str(fault.get("input"))[:200])) from error
    if device_id not in {None, request.device_id}:
        what = "The request names another device than its topic"
        raise _unusable(InvalidInput(what, field="device_id", value=request.device_id))
    return request


class Challenges:
    """Gives challenges, and sees to it that those who ask for many do not fill the ledger."""

    def __init__(self, ledger: Ledger, settings: IntakeSettings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._guard = threading.Lock()
        self._open = 0
        self._looked_at: datetime | None = None

    def give(self, request: ChallengeRequest, *, at: datetime) -> dict[str, Any]:
        """Make a challenge, store it, and answer what the device is told. Raises Refused and the ledger's errors."""
        self._make_room(at)
        nonce = secrets.token_urlsafe(NONCE_BYTES)
        expires_at = at + timedelta(seconds=self._settings.challenge_ttl_s)
        challenge = Challenge(nonce=nonce, device_id=request.device_id, issued_at=at, expires_at=expires_at)
        told: dict[str, Any] = {"nonce": nonce, "expires_at": expires_at.isoformat()}
        if request.attestation is not None:
            secret = secrets.token_bytes(SECRET_BYTES)
            credential = _credential(request.attestation, secret)
            made_for = {"ak_name": credential.ak_name, "ek_fingerprint": credential.ek_fingerprint}
            challenge = challenge.model_copy(update={"activation": activation_answer(secret, nonce), **made_for})
            told["credential"] = {"id_object": credential.id_object, "secret": credential.secret}
        self._ledger.challenges.issue(challenge, most=self._settings.challenges_per_device)
        return told

    def _make_room(self, at: datetime) -> None:
        """Count once in a while, and in between those that are given; raises Refused when there are too many.

        Old ones go only then. One that has just run out stays for a while, so that a late device is told that it is.
        """
        with self._guard:
            if self._looked_at is None or at - self._looked_at > _LOOK_EVERY:
                self._ledger.challenges.purge(at - _KEPT)
                self._open = self._ledger.challenges.unanswered()
                self._looked_at = at
            self._open += 1
            if self._open > self._settings.challenges_open:
                what = "Too many challenges are not answered yet"
                raise Refused(Reason.TOO_MANY, Throttled(what, limit=self._settings.challenges_open))


def _credential(keys: AttestationKeys, secret: bytes) -> TpmCredential:
    try:
        return make_credential(keys.ek_certificate, keys.ak_public, secret=secret, seed=secrets.token_bytes(SEED_BYTES))
    except IdentityRefused as error:
        field = "ak_public" if _is_readable(keys.ek_certificate) else "ek_certificate"
        raise _unusable(InvalidInput(error.what, remedy=error.remedy, field=f"attestation.{field}")) from error


def _is_readable(ek_certificate: str) -> bool:
    try:
        read_ek(ek_certificate)
    except IdentityRefused:
        return False
    return True


def _unusable(error: InvalidInput) -> Refused:
    return Refused(Reason.UNUSABLE, error)
