"""What callers may say about a connected cluster, and what only the service may say."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from edge.lab.azure.http import ArmFault

WRITABLE = frozenset(
    {
        "agentPublicKeyCertificate",
        "distribution",
        "distributionVersion",
        "infrastructure",
        "privateLinkState",
        "privateLinkScopeResourceId",
        "azureHybridBenefit",
        "aadProfile",
        "arcAgentProfile",
        "arcAgentryConfigurations",
        "oidcIssuerProfile",
        "securityProfile",
        "gateway",
    }
)
SERVER_SET = frozenset(
    {
        "connectivityStatus",
        "lastConnectivityTime",
        "managedIdentityCertificateExpirationTime",
        "agentVersion",
        "kubernetesVersion",
        "totalNodeCount",
        "totalCoreCount",
        "offering",
        "miscellaneousProperties",
    }
)
IGNORED = frozenset({"provisioningState"})
"""The SDK lets callers send it; the service does not listen."""
PATCHABLE = frozenset({"distribution", "distributionVersion", "azureHybridBenefit", "gateway"})
TOP_LEVEL = frozenset({"id", "name", "type", "location", "tags", "kind", "identity", "properties", "systemData"})
MAX_TAGS = 50


def check_put(body: dict[str, Any], current: dict[str, Any] | None) -> None:
    """Refuse a PUT that the service would refuse; `current` is the resource's body when it exists.

    Raises:
        ArmFault: 400 or 409.
    """
    _known(body, TOP_LEVEL, "")
    if not isinstance(body.get("location"), str) or not body["location"]:
        raise ArmFault(400, "LocationRequired", "The location property is required for this definition.")
    _check_location(body["location"], current)
    _check_identity(body.get("identity"))
    check_tags(body.get("tags"))
    properties = body.get("properties")
    if not isinstance(properties, dict):
        raise _invalid("properties", "is required and must be an object")
    _check_properties(properties, (current or {}).get("properties", {}))
    if body.get("kind") != "ProvisionedCluster":
        check_public_key(properties.get("agentPublicKeyCertificate"))


def check_patch(body: dict[str, Any]) -> None:
    """Refuse a PATCH of anything but tags and the few properties that may be patched.

    Raises:
        ArmFault: 400.
    """
    _known(body, frozenset({"tags", "properties"}), "")
    check_tags(body.get("tags"))
    properties = body.get("properties", {})
    if not isinstance(properties, dict):
        raise _invalid("properties", "must be an object")
    _known(properties, PATCHABLE, "properties.")


def check_tags(tags: object) -> None:
    """Refuse tags that are not a small map of text to text.

    Raises:
        ArmFault: 400.
    """
    if tags is None:
        return
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise _invalid("tags", "must be a map of text to text")
    if len(tags) > MAX_TAGS:
        raise ArmFault(400, "TooManyTags", f"A resource may carry at most {MAX_TAGS} tags.")


def check_public_key(value: object) -> None:
    """Refuse what is not base64 of the DER SEQUENCE(n, e) of an RSA key.

    Raises:
        ArmFault: 400.
    """
    if not isinstance(value, str) or not value:
        raise _invalid("properties.agentPublicKeyCertificate", "is required")
    try:
        key = load_der_public_key(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise _invalid("properties.agentPublicKeyCertificate", "is not a base64 RSA public key") from error
    if not isinstance(key, RSAPublicKey):
        raise _invalid("properties.agentPublicKeyCertificate", "is not an RSA key")


def _check_location(location: str, current: dict[str, Any] | None) -> None:
    if current is None or plain(location) == plain(current["location"]):
        return
    raise ArmFault(
        409,
        "InvalidResourceLocation",
        f"The resource '{current['name']}' already exists in location '{current['location']}'. A resource with the "
        f"same name cannot be created in location '{location}'. Please select a new resource name.",
    )


def plain(location: str) -> str:
    """A location's name as it is compared: `West Europe` is `westeurope`."""
    return location.replace(" ", "").lower()


def _check_identity(identity: object) -> None:
    kind = identity.get("type") if isinstance(identity, dict) else None
    if kind not in {"SystemAssigned", "None"}:
        raise _invalid("identity.type", "must be SystemAssigned or None")


def _check_properties(properties: dict[str, Any], current: dict[str, Any]) -> None:
    _known(properties, WRITABLE | SERVER_SET | IGNORED, "properties.")
    for name in SERVER_SET & properties.keys():
        if properties[name] != current.get(name):
            raise ArmFault(400, "PropertyReadOnly", f"The property 'properties.{name}' is set by the service.")


def _known(body: dict[str, Any], names: frozenset[str], place: str) -> None:
    for name in body:
        if name not in names:
            raise _invalid(f"{place}{name}", "is not a property of this type, or may not be set here")


def _invalid(place: str, why: str) -> ArmFault:
    return ArmFault(400, "InvalidRequestContent", f"The request content was invalid: '{place}' {why}.")
