"""Which addresses the Arc agents must reach from the cluster, cloud by cloud.

The table holds what Microsoft's page "Azure Arc-enabled Kubernetes network requirements" lists, as far as a name is
fixed. The wildcards of that list (`*.his.arc…`, `*.servicebus…`, `*.data.mcr…`) name no host that could be asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from edge.model.arc import Endpoint
from edge.policy.arc_agents import data_plane_of

_ADDRESS = re.compile(r"(?:https://)?(?P<host>[\w.-]+)(?::(?P<port>\d{1,5}))?(?:/|$)")
_KNOWN = {
    "management.azure.com": (
        "login.microsoftonline.com",
        "mcr.microsoft.com",
        "gbl.his.arc.azure.com",
        "guestnotificationservice.azure.com",
    ),
    "management.usgovcloudapi.net": (
        "login.microsoftonline.us",
        "mcr.microsoft.com",
        "gbl.his.arc.azure.us",
        "guestnotificationservice.azure.us",
    ),
    "management.chinacloudapi.cn": (
        "login.chinacloudapi.cn",
        "mcr.azk8s.cn",
        "gbl.his.arc.azure.cn",
        "guestnotificationservice.azure.cn",
    ),
}


def endpoints_of(endpoint: str, location: str, named: Iterable[str] = ()) -> tuple[Endpoint, ...]:
    """The addresses for the cloud whose Resource Manager is at `endpoint`, each once and in order.

    `named` are URLs or `host:port` texts that the cloud itself names: all that is known of a private cloud, and nothing
    that a public one needs. What names no host is left out.
    """
    manager = read_endpoint(endpoint)
    if manager is None:
        return ()
    known = _KNOWN.get(manager.host)
    texts = named if known is None else (data_plane_of(endpoint, location), *known)
    found = [manager, *filter(None, map(read_endpoint, texts))]
    return tuple(dict.fromkeys(found))


def read_endpoint(text: str) -> Endpoint | None:
    """Host and port (443 unless said) of a URL, or of `host`, `host:port` and `host/path`; None without a host."""
    found = _ADDRESS.match(text)
    return Endpoint(host=found["host"].lower(), port=int(found["port"] or 443)) if found else None
