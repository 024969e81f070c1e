"""How one site is reached: what a kubeconfig's context says, and nothing else of it."""

from __future__ import annotations

import base64
import json

from pydantic import AwareDatetime, Field, SecretStr

from edge.model.base import Value


class SiteAccess(Value):
    """Address and credential of one API server. Secrets are hidden in every printed form.

    `ca_data`, `client_certificate` and `client_key` are PEM text; an empty `ca_data` means the system's authorities.
    `proxy` is a URL and may hold a password. `expires` is known only for credentials from an exec plugin.
    """

    server: str
    ca_data: str = Field(default="", repr=False)
    token: SecretStr | None = None
    client_certificate: str = Field(default="", repr=False)
    client_key: SecretStr | None = None
    tls_server_name: str = ""
    proxy: SecretStr | None = None
    insecure: bool = False
    """The server's certificate is not verified, or there is no TLS at all. Only by explicit consent."""
    expires: AwareDatetime | None = None


def flatten(access: SiteAccess, name: str = "site") -> str:
    """A kubeconfig with this one context and everything inline, for storing. It holds the secrets in clear."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": _cluster(access)}],
        "users": [{"name": name, "user": _user(access)}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return json.dumps(config, indent=2) + "\n"  # JSON is YAML


def _cluster(access: SiteAccess) -> dict[str, object]:
    cluster: dict[str, object] = {"server": access.server}
    if access.ca_data:
        cluster["certificate-authority-data"] = _base64(access.ca_data)
    if access.tls_server_name:
        cluster["tls-server-name"] = access.tls_server_name
    if access.proxy:
        cluster["proxy-url"] = access.proxy.get_secret_value()
    if access.insecure and access.server.startswith("https:"):
        cluster["insecure-skip-tls-verify"] = True
    return cluster


def _user(access: SiteAccess) -> dict[str, object]:
    user: dict[str, object] = {}
    if access.token:
        user["token"] = access.token.get_secret_value()
    if access.client_certificate:
        user["client-certificate-data"] = _base64(access.client_certificate)
    if access.client_key:
        user["client-key-data"] = _base64(access.client_key.get_secret_value())
    return user


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
