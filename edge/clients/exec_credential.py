"""Credentials from an exec plugin, as `client.authentication.k8s.io` describes it.

The official client has this too, but without a time limit and without client certificates, and it shows the plugin's
error output, which may hold a secret.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from edge.errors import CredentialRejected, InvalidInput, NotYet

_WITHIN_S = 30.0
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class ExecCredential(NamedTuple):
    """What a plugin gave. Empty where it gave nothing."""

    token: str
    certificate: str
    key: str
    expires: datetime | None

    def __repr__(self) -> str:
        return "ExecCredential(...)"


def run_plugin(
    plugin: Mapping[str, Any], folder: Path | None, origin: str, *, within_s: float = _WITHIN_S
) -> ExecCredential:
    """Run the plugin of a kubeconfig's user. The caller has checked that its command may be run.

    A command with a path is relative to `folder`, as kubectl has it. InvalidInput: the entry is wrong; NotYet: no
    answer within `within_s` seconds; CredentialRejected: the plugin failed or gave nothing usable.
    """
    command, version = str(plugin["command"]), plugin.get("apiVersion")
    if version not in _VERSIONS:
        raise InvalidInput("The plugin's version is not supported", file=origin, field="exec.apiVersion", value=version)
    asked = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}})
    environment = {**os.environ, **_variables(plugin, origin), "KUBERNETES_EXEC_INFO": asked}
    output = _output([_located(command, folder), *_arguments(plugin, origin)], environment, command, within_s)
    return _parse(output, str(version), command)


def _located(command: str, folder: Path | None) -> str:
    return str(folder / command) if folder is not None and "/" in command else command


def _output(arguments: list[str], environment: dict[str, str], command: str, within_s: float) -> bytes:
    try:
        process = subprocess.Popen(  # noqa: S603 - the command was allowed by name, and no shell is involved
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as theirs:
        raise CredentialRejected("The credential plugin cannot be started", command=command) from theirs
    with process:
        try:
            output, _ = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired as theirs:
            # The whole group: what the plugin itself started would hold the pipe open.
            os.killpg(process.pid, signal.SIGKILL)
            raise NotYet(f"The credential plugin gave no answer within {within_s:g} s", command=command) from theirs
    if process.returncode != 0:
        raise CredentialRejected(f"The credential plugin ended with code {process.returncode}", command=command)
    return output


def _parse(output: bytes, version: str, command: str) -> ExecCredential:
    try:
        answer = json.loads(output)
        status = answer["status"]
        if answer["kind"] != "ExecCredential" or answer["apiVersion"] != version:
            raise ValueError("another kind or version")
        until = str(status.get("expirationTimestamp") or "")
        credential = ExecCredential(
            token=str(status.get("token") or ""),
            certificate=str(status.get("clientCertificateData") or ""),
            key=str(status.get("clientKeyData") or ""),
            expires=_moment(until) if until else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        # Without `from`: the vendor's error would quote the output, which is the secret.
        raise CredentialRejected("The credential plugin's answer is not usable", command=command) from None
    if not credential.token and not credential.certificate:
        raise CredentialRejected("The credential plugin gave no credential", command=command)
    return credential


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment


def _variables(plugin: Mapping[str, Any], origin: str) -> dict[str, str]:
    try:
        return {str(entry["name"]): str(entry["value"]) for entry in plugin.get("env") or []}
    except (KeyError, TypeError) as theirs:
        raise InvalidInput("This must be a list of names and values", file=origin, field="exec.env") from theirs


def _arguments(plugin: Mapping[str, Any], origin: str) -> list[str]:
    arguments = plugin.get("args") or []
    if not isinstance(arguments, list) or not all(isinstance(one, str) for one in arguments):
        raise InvalidInput("This must be a list of texts", file=origin, field="exec.args")
    return arguments
