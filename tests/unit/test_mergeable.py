"""Objects are given the form that every API server merges alike."""

from __future__ import annotations

from typing import Any

import pytest

from edge.policy.mergeable import mergeable


def secret(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, **fields}


def service(ports: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "n"},
        "spec": {"ports": ports},
    }


def test_string_data_becomes_data_and_goes_before_it() -> None:
    given = secret(data={"a": "b2xk", "c": "Yw=="}, stringData={"a": "new", "b": "é"})
    assert mergeable(given) == secret(data={"a": "bmV3", "b": "w6k=", "c": "Yw=="})


def test_a_secret_without_string_data_stays_as_it_is() -> None:
    assert mergeable(secret(data={"a": "Yg=="})) == secret(data={"a": "Yg=="})
    assert mergeable(secret()) == secret()


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"stringData": {"a": 1}}, id="a-number"),
        pytest.param({"stringData": ["a"]}, id="a-list"),
        pytest.param({"stringData": {"a": "b"}, "data": "c"}, id="data-is-text"),
    ],
)
def test_a_secret_of_a_wrong_shape_is_left_for_the_cluster_to_refuse(wrong: dict[str, Any]) -> None:
    assert mergeable(secret(**wrong)) == secret(**wrong)


def test_a_services_port_without_protocol_is_tcp() -> None:
    given = service([{"port": 80}, {"port": 53, "protocol": "UDP"}])
    assert mergeable(given) == service([{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}])


@pytest.mark.parametrize("ports", ["80", [80], None], ids=["text", "numbers", "none"])
def test_ports_of_a_wrong_shape_are_left_for_the_cluster_to_refuse(ports: Any) -> None:
    assert mergeable(service(ports)) == service(ports)


def test_a_kind_of_another_group_with_the_same_name_is_left_alone() -> None:
    other = {**service([{"port": 80}]), "apiVersion": "serving.knative.dev/v1"}
    assert mergeable(other)["spec"] == {"ports": [{"port": 80}]}
