"""Helm releases on one site, through Helm's own SDK.

The SDK is Go code in this process, and most of its calls take no time-out. So each call runs in a thread of its own,
which is left behind when it does not come back in time. A kubeconfig goes in only after `read_kubeconfig` has taken it
apart: Helm would run any program that it names.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import helm_python as sdk

from edge.clients.access import flatten
from edge.clients.kubeconfig import read_kubeconfig
from edge.errors import (
    CredentialRejected,
    EdgeError,
    InvalidInput,
    NotYet,
    OperationFailed,
    SiteSilent,
    SiteUnreachable,
)

T = TypeVar("T")

DEPLOYED = "deployed"
_GRACE_S = 15.0
"""How long after its own time-out a call of Helm may still come back by itself."""
_LONGEST = 600
_SECRET = re.compile(r"-----BEGIN[^-]*-----.*?(-----END[^-]*-----|$)|[A-Za-z0-9+/=_-]{120,}", re.DOTALL)
"""Keys in PEM, and whatever else is long enough to be a key or a token."""


class HelmRelease:
    """One release, by name and namespace. Not to be used by two threads at once: Helm has no lock of its own."""

    def __init__(self, kubeconfig_text: str, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self._kubeconfig = flatten(read_kubeconfig(kubeconfig_text))

    def state(self, *, within_s: float = 60.0) -> str:
        """Helm's word for the release's state; "" when there is none."""

        def look(config: Any) -> str:
            found = config.list(all_states=True, name_filter=f"^{re.escape(self.name)}$")
            return str(found[0]["status"]) if found else ""

        return self._run(look, within_s)

    def put(self, archive: bytes, values: Mapping[str, Any], *, within_s: float, wait: bool = True) -> str:
        """Install the chart, or upgrade the release to it, and wait until its objects are ready; the chart's version.

        Without `wait` it is done when the objects are there and the chart's hooks have run. Helm does not notice while
        it waits that the site is away, so who can wait by himself should.

        A release that an earlier try left in any state but deployed is uninstalled first: Helm would refuse to go on
        from there. Raises NotYet when the objects are not ready after `within_s` seconds; the release then stays, for
        a look at it, until it is uninstalled.
        """
        before = self.state()
        if before not in {"", DEPLOYED}:
            self.uninstall()

        def put(config: Any) -> str:
            with sdk.Chart.load_archive(archive) as chart:
                more: dict[str, Any] = {"timeout": max(1, round(within_s)), "wait": "watcher" if wait else "hookOnly"}
                if before == DEPLOYED:
                    config.upgrade(chart, self.name, dict(values), reset_values=True, **more)
                else:
                    config.install(chart, self.name, dict(values), create_namespace=True, **more)
                return str(chart.version)

        return self._run(put, within_s)

    def uninstall(self, *, within_s: float = 120.0) -> None:
        """Uninstall the release and wait until its objects are gone; it is fine when there is none."""

        def remove(config: Any) -> None:
            config.uninstall(self.name, ignore_not_found=True, wait="watcher", timeout=max(1, round(within_s)))

        self._run(remove, within_s)

    def _run(self, work: Callable[[Any], T], within_s: float) -> T:
        """Do `work` with a connection of its own, in a thread of its own."""
        results: list[T] = []
        errors: list[BaseException] = []

        def body() -> None:
            try:
                with sdk.Config(kubeconfig_content=self._kubeconfig, namespace=self.namespace) as config:
                    results.append(work(config))
            except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
                errors.append(error)

        thread = threading.Thread(target=body, name=f"helm-{self.name}", daemon=True)
        thread.start()
        thread.join(within_s + _GRACE_S)
        if thread.is_alive():
            raise SiteSilent(f"Helm got no answer from the site within {within_s + _GRACE_S:g} s", release=self.name)
        if errors:
            self._raise(errors[0])
        return results[0]

    def _raise(self, error: BaseException) -> None:
        if not isinstance(error, sdk.HelmError):
            raise error
        raw = " ".join(str(error).split())
        clean = _SECRET.sub("(hidden)", raw)[:_LONGEST]
        # The cause would carry the text that was hidden.
        raise _ours(error, clean, self.name) from (error if clean == raw else None)


_SIGNS: tuple[tuple[tuple[str, ...], type[EdgeError]], ...] = (
    (("execution error at", "/templates/"), InvalidInput),
    (("Unauthorized", "forbidden", "provide credentials"), CredentialRejected),
    (("unreachable", "connection refused", "connection reset", "no such host", "i/o timeout", "EOF"), SiteUnreachable),
    (("context deadline exceeded", "timed out", "not ready", "timeout"), NotYet),
)
"""What is looked for in Helm's text, the surest first."""


def _ours(error: Exception, text: str, release: str) -> EdgeError:
    """Helm tells its errors apart by their text alone, but for those about the chart."""
    if isinstance(error, (sdk.HelmChartLoadError, sdk.HelmChartInvalidError, sdk.HelmValuesError, sdk.HelmRenderError)):
        return InvalidInput(f"The chart cannot be used: {text}", release=release)
    for signs, kind in _SIGNS:
        if any(sign in text for sign in signs):
            return kind(f"Helm: {text}", release=release)
    return OperationFailed(f"Helm: {text}", release=release)
