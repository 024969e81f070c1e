"""Bodies with values where they do not belong: each is accepted or refused in words, and none breaks the server."""

from __future__ import annotations

import copy
import json
import random
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contract.lab_kube_site import (
    ADMIN,
    APPLY,
    CM,
    CRDS,
    DEPLOYMENTS,
    MERGE,
    PODS,
    WIDGETS,
    Host,
    Site,
    config_map,
    deployment,
    pod,
    widget,
    widget_crd,
)

STRANGE: tuple[Any, ...] = (None, "", "x", 0, -1, 1.5, True, [], {}, [None], [{}], {"a": None}, {"a": {"b": []}}, "1Gi")
PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "config-map": (CM, config_map("hostile", a="1")),
    "deployment": (DEPLOYMENTS, deployment("hostile")),
    "pod": (PODS, pod("hostile", nodeName="n", tolerations=[{"key": "a"}], priorityClassName="none")),
    "crd": (CRDS, widget_crd()),
    "widget": (WIDGETS, widget("hostile", size=3)),
    "service": (
        "/api/v1/namespaces/default/services",
        {"metadata": {"name": "hostile"}, "spec": {"type": "NodePort", "ports": [{"port": 1, "nodePort": 30_005}]}},
    ),
    "quota": (
        "/api/v1/namespaces/default/resourcequotas",
        {"metadata": {"name": "hostile"}, "spec": {"hard": {"pods": "9", "requests.cpu": "1"}}},
    ),
    "budget": (
        "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
        {"metadata": {"name": "hostile"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}},
    ),
    "review": (
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": {"user": "u", "groups": ["g"], "resourceAttributes": {"verb": "get", "resource": "pods"}}},
    ),
    "eviction": (f"{PODS}/hostile/eviction", {"metadata": {"name": "x"}, "deleteOptions": {"gracePeriodSeconds": 1}}),
}


@pytest.fixture
def site(host: Host) -> Iterator[Site]:
    with host.fresh_site() as running:
        running.make(CRDS, widget_crd())
        yield running


def _paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield before
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from _paths(child, (*before, key))


def _spoilt(body: dict[str, Any], chance: random.Random) -> Any:
    spoilt = copy.deepcopy(body)
    *path, last = chance.choice([path for path in _paths(spoilt) if path])
    place: Any = spoilt
    for key in path:
        place = place[key]
    if isinstance(place, dict) and chance.random() < 0.25:
        del place[last]
    else:
        place[last] = copy.deepcopy(chance.choice(STRANGE))
    return spoilt


def _send(site: Site, how: str, path: str, body: Any) -> Any:
    if how == "post" or path.endswith(("eviction", "reviews")):
        return site.call("POST", path, body)
    one = f"{path}/{'widgets.edge.example.com' if path == CRDS else 'hostile'}"
    if how == "apply":
        return site.apply(one, body, query="&force=true")
    if how == "status":
        return site.call("PATCH", f"{one}/status", {"status": body}, content_type=MERGE)
    media = {"merge": MERGE, "strategic": "application/strategic-merge-patch+json"}.get(how)
    return site.call("PATCH", one, body, content_type=media) if media else site.call("PUT", one, body)


@pytest.mark.parametrize("place", PLACES)
def test_no_value_breaks_the_server(site: Site, place: str) -> None:
    chance = random.Random(place)
    path, body = PLACES[place]
    for number in range(60):
        how = chance.choice(["post", "put", "apply", "merge", "strategic", "status"])
        spoilt = _spoilt(body, chance) if number % 10 else body
        reply = _send(site, how, path, spoilt)
        typed = reply.code == 500 and reply.body["message"].startswith("failed to create typed patch object")
        assert reply.code < 500 or typed, (how, json.dumps(spoilt), reply.body)
    assert site.apply(f"{CM}/after", config_map("after")).code == 201


def test_a_body_that_breaks_off_changes_nothing(site: Site) -> None:
    path = f"{CM}/half?fieldManager=one"
    document = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: half}\ndata:\n  a: '1'\n"
    target = urlsplit(site.url + path)
    head = (
        f"PATCH {target.path}?{target.query} HTTP/1.1\r\nHost: lab\r\nAuthorization: Bearer {ADMIN}\r\n"
        f"Content-Type: {APPLY}\r\nContent-Length: {len(document) + 10}\r\n\r\n"
    )
    served = site.store.served
    with socket.create_connection((target.hostname, target.port)) as plain:
        plain.sendall(head.encode() + document)
    end = time.monotonic() + 20
    while site.store.served == served:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert site.call("GET", f"{CM}/half").code == 404
