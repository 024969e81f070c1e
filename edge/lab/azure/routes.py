"""Which handler answers which address. Azure's addresses are case-insensitive, and each type has its api-versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge.lab.azure.http import Answer, ArmFault, Request

Handler = Callable[[Request, dict[str, str]], Answer]
"""Takes the request and the named parts of its path."""

SUBSCRIPTION = "/subscriptions/{subscription}"
GROUP = SUBSCRIPTION + "/resourceGroups/{group}"
CLUSTERS = "/providers/Microsoft.Kubernetes/connectedClusters"
CLUSTER = GROUP + CLUSTERS + "/{cluster}"
CONFIGURATION = CLUSTER + "/providers/Microsoft.KubernetesConfiguration"


@dataclass(frozen=True)
class Route:
    """One address. `{name}` takes one part of a path, `{name+}` takes several; no `versions` means any or none.

    `open` addresses ask for no bearer token.
    """

    method: str
    template: str
    handler: Handler
    versions: frozenset[str] = frozenset()
    open: bool = False

    def pattern(self) -> re.Pattern[str]:
        """The template as a regular expression."""
        parts = re.split(r"(\{\w+\+?\})", self.template)
        return re.compile("".join(_part(part) for part in parts), re.IGNORECASE)


def _part(text: str) -> str:
    if not text.startswith("{"):
        return re.escape(text)
    name = text.strip("{}+")
    return f"(?P<{name}>.+)" if text.endswith("+}") else f"(?P<{name}>[^/]+)"


class Router:
    """Finds the route for a request. The first that fits wins."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(route.pattern(), route) for route in routes]

    def find(self, request: Request) -> tuple[Route, dict[str, str]]:
        """The route and the named parts of the path.

        Raises:
            ArmFault: 404 for an unknown address, 405 for a known one with another method.
        """
        path = request.path.rstrip("/") or "/"
        method = "GET" if request.method == "HEAD" else request.method
        known = False
        for pattern, route in self._routes:
            found = pattern.fullmatch(path)
            if found and route.method == method:
                return route, found.groupdict()
            known = known or found is not None
        if known:
            raise ArmFault(405, "MethodNotAllowed", f"The method {request.method} is not allowed for '{path}'.")
        raise ArmFault(404, "InvalidResourceType", f"No resource type is served at '{path}'.")


def check_version(route: Route, request: Request) -> None:
    """Refuse a missing or unknown api-version as Resource Manager does.

    Raises:
        ArmFault: 400.
    """
    if not route.versions:
        return
    version = request.query.get("api-version")
    if version is None:
        raise ArmFault(
            400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required."
        )
    if version not in route.versions:
        supported = ", ".join(sorted(route.versions))
        raise ArmFault(
            400,
            "NoRegisteredProviderFound",
            f"No registered resource provider found for API version '{version}'. The supported api-versions are "
            f"'{supported}'.",
        )
