"""Rendering a Helm component with Helm's own engine, in this process and without a cluster.

`lookup` finds nothing, a release is always its first install, and the version of Kubernetes is the engine's own. The
engine is Go code that takes no time limit, so it runs in a thread that is left behind when it does not come back.
"""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import helm_python as sdk

from edge.errors import InvalidInput

T = TypeVar("T")

WITHIN_S = 30.0
LARGEST = 20_000_000
_LONGEST_MESSAGE = 1000
_NOTES = "NOTES.txt"


class ChartTemplates:
    """One chart, ready to be rendered with any values; safe to share between threads."""

    def __init__(self, archive: bytes, *, component: str, path: str) -> None:
        """Open a chart's archive (`.tgz`). Raises InvalidInput when it is no chart, or lacks a chart it depends on."""
        self._where = {"component": component, "file": path}
        self._is_steady = False
        self._chart = self._run(lambda: sdk.Chart.load_archive(archive))
        declared = {str(said.get("name")) for said in self._chart.metadata.get("dependencies") or ()}
        missing = sorted(declared - {str(said.get("name")) for said in self._chart.dependencies})
        if missing:
            remedy = "Unpack it into the chart's folder charts/"
            raise InvalidInput("The chart lacks a chart it depends on", remedy=remedy, value=missing[0], **self._where)

    def render(self, values: Mapping[str, Any], *, release: str, namespace: str) -> dict[str, str]:
        """Name of each template -> its YAML, CustomResourceDefinitions of `crds/` first, notes left out.

        Raises InvalidInput with Helm's own words, for values against the chart's schema and a template that fails, and
        when the chart makes something else each time: what it makes is compared with what is on record and on the site.
        """

        def work() -> dict[str, str]:
            crds = {str(crd["filename"]): str(crd["data"]) for crd in self._chart.crds}
            made = self._chart.render(dict(values), name=release, namespace=namespace, revision=1, is_install=True)
            return crds | {name: text for name, text in sorted(made.items()) if not name.endswith(_NOTES)}

        found = self._run(work)
        if not self._is_steady and found != self._run(work):
            remedy = "Give what it draws at random (a password, a certificate, a date) in the component's values"
            raise InvalidInput("The chart makes something else each time", remedy=remedy, **self._where)
        self._is_steady = True
        if sum(map(len, found.values())) > LARGEST:
            raise InvalidInput(f"The chart makes more than {LARGEST} characters", **self._where)
        return {name: text for name, text in found.items() if text.strip()}

    def _run(self, work: Callable[[], T]) -> T:
        results: list[T] = []
        errors: list[BaseException] = []

        def body() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
                errors.append(error)

        thread = threading.Thread(target=body, name="helm-template", daemon=True)
        thread.start()
        thread.join(WITHIN_S)
        if thread.is_alive():
            raise InvalidInput(f"Helm was not done after {WITHIN_S:g} s", **self._where)
        if not errors:
            return results[0]
        if isinstance(errors[0], sdk.HelmError):
            raise InvalidInput(f"Helm: {_said(errors[0])}", **self._where) from errors[0]
        raise errors[0]


def chart_archive(files: Mapping[str, str], path: str) -> bytes:
    """The archive of a chart that is a folder of the stamp, made in memory."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", compresslevel=1) as archive:
        for name in sorted(file for file in files if file.startswith(f"{path}/")):
            content = files[name].encode()
            member = tarfile.TarInfo(f"chart/{name.removeprefix(path).lstrip('/')}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_MESSAGE]
