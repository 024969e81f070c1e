"""Lists and watches over expired positions, broken streams and gaps."""

from __future__ import annotations

import json

import pytest

from edge.clients.kube_watch import Change
from edge.errors import NotYet, SiteUnreachable
from tests.contract.pretend_site import Answer, client_of, scripted, serve, status


def page(names: list[str], token: str = "", version: str = "10") -> Answer:
    items = [{"metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": "1"}} for name in names]
    return Answer({"metadata": {"resourceVersion": version, "continue": token}, "items": items})


def test_a_list_whose_position_expires_starts_again_and_gives_nothing_twice() -> None:
    script = scripted(page(["a", "b"], "t1"), status(410, "Expired"), page(["a", "b"], "t2"), page(["c"]))
    with serve(script) as site, client_of(site) as client:
        found = list(client.list("v1", "ConfigMap", namespace="shop", labels="a=b"))
        assert [one["metadata"]["name"] for one in found] == ["a", "b", "c"]
        assert found[0]["kind"] == "ConfigMap"
        assert found[0]["apiVersion"] == "v1"
        assert "limit=500&labelSelector=a%3Db" in site.requests[2].path


def test_a_list_that_never_settles_ends() -> None:
    answers = [page(["a"], "t"), status(410, "Expired")] * 3
    with serve(scripted(*answers)) as site, client_of(site) as client, pytest.raises(NotYet):
        list(client.list("v1", "ConfigMap"))


def events(*changes: tuple[str, str, str]) -> Answer:
    lines = [
        {"type": kind, "object": {"metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": version}}}
        for kind, name, version in changes
    ]
    return Answer(b"".join(json.dumps(line).encode() + b"\n" for line in lines), stream=True)


def test_a_watch_resumes_where_a_broken_stream_ended() -> None:
    script = scripted(
        page(["a"]),
        events(("ADDED", "b", "11"), ("BOOKMARK", "", "15")),
        Answer(act="reset"),
        events(("DELETED", "a", "16")),
        Answer(act="silence"),
    )
    with serve(script) as site, client_of(site) as client:
        watching = client.watch("v1", "ConfigMap", namespace="shop")
        seen = [next(watching) for _ in range(3)]
        watching.close()
        assert [(one.change, one.obj["metadata"]["name"]) for one in seen] == [
            (Change.ADDED, "a"),
            (Change.ADDED, "b"),
            (Change.DELETED, "a"),
        ]
        positions = [request.path for request in site.requests if "watch=true" in request.path]
        assert "resourceVersion=10" in positions[0]
        assert all("resourceVersion=15" in path for path in positions[1:])


def test_a_watch_that_lost_its_position_says_what_changed_meanwhile() -> None:
    expired = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
    later = page(["b", "c"], version="20")
    later.body["items"][0]["metadata"]["resourceVersion"] = "19"  # type: ignore[index]  # `page` makes a dict
    script = scripted(page(["a", "b"]), Answer(json.dumps(expired).encode() + b"\n", stream=True), later)
    with serve(script) as site, client_of(site) as client:
        watching = client.watch("v1", "ConfigMap")
        seen = [next(watching) for _ in range(5)]
        watching.close()
        assert [(one.change, one.obj["metadata"]["name"]) for one in seen[2:]] == [
            (Change.MODIFIED, "b"),
            (Change.ADDED, "c"),
            (Change.DELETED, "a"),
        ]


def test_a_watch_that_never_works_is_an_error() -> None:
    script = scripted(page([]), Answer(act="reset"))
    with serve(script) as site, client_of(site) as client, pytest.raises(SiteUnreachable):
        list(client.watch("v1", "ConfigMap"))
