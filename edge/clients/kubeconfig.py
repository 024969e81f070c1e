"""Reading kubeconfig files, as strictly as a file deserves that may come from anywhere.

A kubeconfig can run programs (exec plugins), read files (tokens, keys) and switch verification off. Programs run only
when they are named as allowed. Files are read only for a kubeconfig that is itself a file: a text that was received,
from Azure or in an upload, must hold everything inline. What is not understood is refused, never skipped.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import AwareDatetime, SecretStr

from edge.clients.access import SiteAccess
from edge.clients.exec_credential import run_plugin
from edge.clients.files import read_text
from edge.errors import InvalidInput
from edge.policy.yaml_text import parse_yaml

_LONGEST = 1_000_000
_CLUSTER_FIELDS = frozenset(
    {
        "server",
        "certificate-authority",
        "certificate-authority-data",
        "insecure-skip-tls-verify",
        "tls-server-name",
        "proxy-url",
        "disable-compression",
        "extensions",
    }
)
_USER_FIELDS = frozenset(
    {
        "token",
        "tokenFile",
        "client-certificate",
        "client-certificate-data",
        "client-key",
        "client-key-data",
        "exec",
        "extensions",
    }
)


def read_kubeconfig(
    text_or_path: str | Path,
    context: str | None = None,
    allow_exec: Sequence[str] = (),
    *,
    allow_insecure: bool = False,
) -> SiteAccess:
    """What one context says; without `context`, the current one.

    A `Path`, or a string of one line, is a file; other strings are the text itself. `allow_exec` holds the commands
    that may be run for a credential, as written in the file. Raises InvalidInput with file, field and value.
    """
    reader = _Reader.of(text_or_path)
    chosen = context or reader.text(reader.top, "current-context")
    if not chosen:
        raise reader.fault("The kubeconfig has no current context; name one", "current-context")
    pair = reader.entry("contexts", "context", chosen)
    cluster = reader.entry("clusters", "cluster", reader.needed(pair, "cluster"))
    user = reader.entry("users", "user", reader.text(pair, "user")) if pair.get("user") else {}
    reader.only(cluster, _CLUSTER_FIELDS)
    reader.only(user, _USER_FIELDS)
    insecure = _insecure(reader, cluster, allow_insecure)
    return SiteAccess(
        server=reader.needed(cluster, "server").rstrip("/"),
        ca_data="" if insecure else reader.pem(cluster, "certificate-authority"),
        tls_server_name=reader.text(cluster, "tls-server-name"),
        proxy=_secret(reader.text(cluster, "proxy-url")),
        insecure=insecure,
        **_credential(reader, user, tuple(allow_exec)),
    )


def _credential(reader: _Reader, user: Mapping[str, Any], allow_exec: tuple[str, ...]) -> dict[str, Any]:
    """The fields of SiteAccess that say who we are. A token goes before a token file, and both before a plugin."""
    certificate = reader.pem(user, "client-certificate")
    key = reader.pem(user, "client-key")
    if bool(certificate) != bool(key):
        raise reader.fault("A client certificate and its key must come together", "client-certificate")
    token = reader.text(user, "token") or reader.file(user, "tokenFile").strip()
    expires: AwareDatetime | None = None
    if user.get("exec") and not token:
        plugin = reader.mapping(user, "exec")
        _check_allowed(reader, plugin, allow_exec)
        credential = run_plugin(plugin, reader.folder, reader.origin)
        token, expires = credential.token, credential.expires
        certificate, key = credential.certificate or certificate, credential.key or key
    return {
        "token": _secret(token),
        "client_certificate": certificate,
        "client_key": _secret(key),
        "expires": expires,
    }


def _check_allowed(reader: _Reader, plugin: Mapping[str, Any], allow_exec: tuple[str, ...]) -> None:
    command = reader.needed(plugin, "command")
    if command not in allow_exec:
        raise reader.fault(
            "The kubeconfig would run a program that is not allowed",
            "exec.command",
            command,
            remedy="Allow it by name, or use a kubeconfig with a token or certificate",
        )


def _insecure(reader: _Reader, cluster: Mapping[str, Any], allowed: bool) -> bool:
    server = reader.needed(cluster, "server")
    parts = urlsplit(server)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise reader.fault("The server's address must be https://host:port/path", "server", server)
    skip = cluster.get("insecure-skip-tls-verify", False)
    if not isinstance(skip, bool):
        raise reader.fault("This must be true or false", "insecure-skip-tls-verify", skip)
    if (skip or parts.scheme == "http") and not allowed:
        field = "insecure-skip-tls-verify" if skip else "server"
        raise reader.fault("The server's identity would not be verified", field, skip or server)
    return skip or parts.scheme == "http"


def _secret(text: str) -> SecretStr | None:
    return SecretStr(text) if text else None


class _Reader:
    """Typed access to the parsed file, with errors that say where. `folder` is None for a text without a file."""

    def __init__(self, text: str, origin: str, folder: Path | None) -> None:
        parsed = parse_yaml(text, origin=origin, max_bytes=_LONGEST)
        self.origin = origin
        self.folder = folder
        if not isinstance(parsed, dict):
            raise self.fault("A kubeconfig is a mapping", "")
        self.top: Mapping[str, Any] = parsed
        if parsed.get("kind", "Config") != "Config":
            raise self.fault("This is not a kubeconfig", "kind", parsed.get("kind"))

    @classmethod
    def of(cls, text_or_path: str | Path) -> _Reader:
        if isinstance(text_or_path, str) and ("\n" in text_or_path or text_or_path.lstrip().startswith("{")):
            return cls(text_or_path, "kubeconfig", None)
        path = Path(text_or_path).expanduser()
        return cls(read_text(path, _LONGEST), str(path), path.parent)

    def fault(self, what: str, field: str, value: object = None, *, remedy: str = "") -> InvalidInput:
        return InvalidInput(what, file=self.origin, field=field or None, value=value, remedy=remedy)

    def entry(self, section: str, body: str, name: str) -> Mapping[str, Any]:
        """The named entry of a list such as `clusters`; exactly one must have the name."""
        entries = self.top.get(section) or []
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise self.fault("This must be a list of named entries", section)
        fitting = [one for one in entries if one.get("name") == name]
        if len(fitting) != 1:
            what = "is not there" if not fitting else "is there more than once"
            raise self.fault(f"The kubeconfig's {body} {what}", section, name)
        return self.mapping(fitting[0], body)

    def mapping(self, within: Mapping[str, Any], field: str) -> Mapping[str, Any]:
        value = within.get(field) or {}
        if not isinstance(value, dict):
            raise self.fault("This must be a mapping", field)
        return value

    def text(self, within: Mapping[str, Any], field: str) -> str:
        value = within.get(field)
        if value is not None and not isinstance(value, str):
            raise self.fault("This must be text", field)
        return value or ""

    def needed(self, within: Mapping[str, Any], field: str) -> str:
        value = self.text(within, field)
        if not value:
            raise self.fault("This is missing", field)
        return value

    def only(self, within: Mapping[str, Any], known: frozenset[str]) -> None:
        """Refuse fields that are not understood; their values may be secret and are not shown."""
        unknown = sorted(str(field) for field in within if field not in known)
        if unknown:
            raise self.fault("The kubeconfig uses what is not supported", unknown[0])

    def pem(self, within: Mapping[str, Any], field: str) -> str:
        """PEM text from `<field>-data`, base64, or else from the file that `<field>` names."""
        inline = self.text(within, f"{field}-data")
        if not inline:
            return self.file(within, field)
        try:
            return base64.b64decode("".join(inline.split()), validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError) as theirs:
            raise self.fault("This must be PEM in base64", f"{field}-data") from theirs

    def file(self, within: Mapping[str, Any], field: str) -> str:
        name = self.text(within, field)
        if not name:
            return ""
        if self.folder is None:
            raise self.fault("A kubeconfig that is not a file must hold everything inline", field, name)
        try:
            return read_text(self.folder / Path(name).expanduser(), _LONGEST)
        except InvalidInput as unreadable:
            raise self.fault(unreadable.what, field, unreadable.where["file"]) from unreadable
