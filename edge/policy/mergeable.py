"""The same object in the form that server-side apply merges alike on every API server.

Two forms are accepted by Kubernetes and yet go wrong. `stringData` of a Secret is folded into `data` after ownership is
worked out, so each apply of it writes, and a key that is left out later stays. A Service's port without its protocol is
refused by older servers (seen on 1.20), whose schema has no default for that half of the port's key.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any


def mergeable(obj: dict[str, Any]) -> dict[str, Any]:
    """The object itself, changed where its form does not merge well. What has a wrong shape is left to the cluster."""
    match obj["apiVersion"], obj["kind"]:
        case "v1", "Secret":
            _fold_string_data(obj)
        case "v1", "Service":
            _name_protocols(obj.get("spec"))
    return obj


def _fold_string_data(secret: dict[str, Any]) -> None:
    plain, data = secret.get("stringData"), secret.get("data") or {}
    if not (
        isinstance(plain, dict) and isinstance(data, dict) and all(isinstance(text, str) for text in plain.values())
    ):
        return
    del secret["stringData"]
    secret["data"] = {**data, **{key: b64encode(text.encode()).decode() for key, text in plain.items()}}


def _name_protocols(spec: object) -> None:
    ports = spec.get("ports") if isinstance(spec, dict) else None
    for port in ports if isinstance(ports, list) else ():
        if isinstance(port, dict):
            port.setdefault("protocol", "TCP")
