"""How `SiteClient` finds a kind's path, and what it does when it was told wrong."""

from __future__ import annotations

import pickle

import pytest

from edge.clients.kube_discovery import DiscoveryCache
from edge.errors import NotFound
from edge.model.kube import ObjectRef
from tests.contract.pretend_site import CONFIG_MAP, Answer, Request, client_of, scripted, serve


def test_two_alike_sites_share_one_copy_and_the_second_asks_for_nothing() -> None:
    cache = DiscoveryCache()
    with serve(scripted(Answer(CONFIG_MAP))) as first, serve(scripted(Answer(CONFIG_MAP))) as second:
        with client_of(first, cache=cache) as one, client_of(second, cache=cache) as two:
            one.apply(CONFIG_MAP)
            two.apply(CONFIG_MAP)
            assert second.paths() == ["/api/v1/namespaces/shop/configmaps/one"]
            assert one.discovery() is two.discovery()
        assert len(cache) == 1


def test_a_cache_that_is_copied_starts_empty() -> None:
    cache = DiscoveryCache()
    with serve(scripted(Answer(CONFIG_MAP))) as site, client_of(site, cache=cache) as client:
        client.discovery()
    assert len(cache) == 1
    assert len(pickle.loads(pickle.dumps(cache))) == 0


def test_a_wrong_hint_from_another_site_is_put_right_by_the_sites_own_list() -> None:
    widget = {"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "shop"}}

    def only_gadgets(request: Request) -> Answer:
        if "/gadgets/" in request.path:
            return Answer(widget)
        return Answer(b"404 page not found", code=404)

    cache = DiscoveryCache()
    with serve(scripted(Answer(widget))) as first, serve(only_gadgets) as second:
        first.discovery["/apis"] = [("x.io", "v1", [("widgets", "Widget", "Namespaced")])]
        second.discovery["/apis"] = [("x.io", "v1", [("gadgets", "Widget", "Namespaced")])]
        with client_of(first, cache=cache) as one, client_of(second, cache=cache) as two:
            one.apply(widget)
            assert two.apply(widget) == widget
            assert two.get(ObjectRef.of(widget)) == widget


def test_a_kind_that_is_not_served_is_looked_up_once_more_and_then_named() -> None:
    with serve(scripted(Answer(b"404 page not found", code=404))) as site, client_of(site) as client:
        client.discovery()
        with pytest.raises(NotFound, match=r"Widget of x\.io/v1"):
            client.get(ObjectRef(api_version="x.io/v1", kind="Widget", name="w"))
        assert site.paths().count("/apis") == 2


def test_a_kind_whose_definition_is_newer_than_the_servers_list_is_found() -> None:
    widget = {"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "w"}}
    crd = {"spec": {"group": "x.io", "names": {"kind": "Widget", "plural": "widgets"}, "scope": "Cluster"}}

    def script(request: Request) -> Answer:
        return Answer({"items": [crd]} if "customresourcedefinitions" in request.path else widget)

    with serve(script) as site, client_of(site) as client:
        assert client.apply(widget) == widget
        assert site.paths()[-1] == "/apis/x.io/v1/widgets/w"


def test_a_server_without_aggregated_discovery_is_asked_group_by_group() -> None:
    def plain(request: Request) -> Answer:
        answers = {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": [{"versions": [{"groupVersion": "apps/v1"}]}]},
            "/api/v1": {
                "groupVersion": "v1",
                "resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}],
            },
            "/apis/apps/v1": {
                "groupVersion": "apps/v1",
                "resources": [
                    {"name": "deployments", "kind": "Deployment", "namespaced": True},
                    {"name": "deployments/scale", "kind": "Scale", "namespaced": True},
                ],
            },
        }
        return Answer(answers.get(request.path.partition("?")[0], CONFIG_MAP))

    with serve(plain) as site, client_of(site) as client:
        site.discovery = {}
        assert client.apply(CONFIG_MAP) == CONFIG_MAP
        assert len(client.discovery()) == 2
        assert client.discovery().serves("apps/v1")


@pytest.mark.parametrize("plural", ["../secrets", "a/b", "A", "", "x?y"], ids=["up", "slash", "case", "empty", "query"])
def test_a_hostile_discovery_list_cannot_bend_a_path(plural: str) -> None:
    with serve(scripted(Answer({"items": []}))) as site, client_of(site) as client:
        site.discovery["/apis"] = [("x.io", "v1", [(plural, "Widget", "Cluster")])]
        with pytest.raises(NotFound):
            client.get(ObjectRef(api_version="x.io/v1", kind="Widget", name="w"))
