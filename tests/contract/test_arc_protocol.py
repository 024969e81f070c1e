"""The lab's Azure on the wire: what it refuses, and in which words."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

VERSION = "2026-05-01"
PUBLIC = rsa.generate_private_key(65537, 2048).public_key()
KEY = base64.b64encode(PUBLIC.public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()
BODY: dict[str, Any] = {
    "location": "westeurope",
    "identity": {"type": "SystemAssigned"},
    "properties": {"agentPublicKeyCertificate": KEY},
}


@pytest.fixture(scope="module")
def azure(lab: Any) -> Iterator[httpx.Client]:
    """A client that is logged in."""
    verify = ssl.create_default_context(cafile=lab.ca_file)
    with httpx.Client(base_url=lab.azure.endpoint, verify=verify) as http:
        login = http.get(
            "/azure/identity",
            params={"api-version": "2019-08-01", "resource": lab.azure.endpoint},
            headers={"X-IDENTITY-HEADER": lab.azure.env.IDENTITY_HEADER},
        )
        http.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        http.params = httpx.QueryParams({"api-version": VERSION})
        yield http


@pytest.fixture(scope="module")
def cluster(lab: Any) -> str:
    subscription = lab.azure.subscription_id
    return f"/subscriptions/{subscription}/resourceGroups/edge/providers/Microsoft.Kubernetes/connectedClusters/proto"


@pytest.fixture
def existing(azure: httpx.Client, cluster: str) -> Iterator[dict[str, Any]]:
    """A cluster that is there, gone afterwards."""
    begun = azure.put(cluster, json=BODY)
    assert begun.status_code == 201
    finished(azure, begun)
    yield azure.get(cluster).json()
    gone = azure.delete(cluster)
    until(lambda: azure.get(gone.headers["Location"]).status_code == 204)


def finished(azure: httpx.Client, begun: httpx.Response) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        status: dict[str, Any] = azure.get(begun.headers["Azure-AsyncOperation"]).json()
        return None if status["status"] == "InProgress" else status

    ended: dict[str, Any] = until(look)
    return ended


def until(look: Callable[[], Any]) -> Any:
    for _ in range(100):
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come true within 10 s")


def error(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()["error"]
    assert body["message"]
    return answer.status_code, body["code"]


def test_a_put_is_announced_and_asked_after_as_azure_does(azure: httpx.Client, cluster: str) -> None:
    begun = azure.put(cluster, json=BODY)
    assert begun.status_code == 201
    assert begun.json()["properties"]["provisioningState"] == "Accepted"
    assert begun.headers["Retry-After"] == "1"
    status = azure.get(begun.headers["Azure-AsyncOperation"])
    assert status.json()["status"] == "InProgress"
    assert status.headers["Retry-After"] == "1"
    assert error(azure.put(cluster, json=BODY)) == (409, "OperationInProgress")
    ended = finished(azure, begun)
    assert ended["status"] == "Succeeded"
    assert ended["endTime"] > ended["startTime"]
    assert azure.put(cluster, json=BODY).status_code == 200
    gone = azure.delete(cluster)
    assert (gone.status_code, azure.get(cluster).json()["properties"]["provisioningState"]) == (202, "Deleting")
    until(lambda: azure.get(gone.headers["Location"]).status_code == 204)
    assert error(azure.get(cluster)) == (404, "ResourceNotFound")
    assert azure.delete(cluster).status_code == 204


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        pytest.param({"Authorization": ""}, "AuthenticationFailed", id="none"),
        pytest.param({"Authorization": "Bearer 1.made-up"}, "InvalidAuthenticationToken", id="made up"),
        pytest.param({"Authorization": "Basic YTpi"}, "AuthenticationFailed", id="another scheme"),
    ],
)
def test_no_answer_without_a_good_token(azure: httpx.Client, cluster: str, headers: dict[str, str], code: str) -> None:
    answer = azure.get(cluster, headers=headers)
    assert error(answer) == (401, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_no_token_without_the_identity_header(azure: httpx.Client) -> None:
    answer = azure.get("/azure/identity", params={"api-version": "2019-08-01"}, headers={"X-IDENTITY-HEADER": "guess"})
    assert answer.status_code == 401


def test_the_api_version_must_be_one_that_is_served(azure: httpx.Client, cluster: str) -> None:
    assert error(azure.get(cluster, params={"api-version": "2020-01-01"})) == (400, "NoRegisteredProviderFound")
    request = httpx.Request("GET", azure.base_url.join(cluster), headers=azure.headers)
    assert error(azure.send(request)) == (400, "MissingApiVersionParameter")


def test_addresses_do_not_mind_their_case(azure: httpx.Client, cluster: str, existing: dict[str, Any]) -> None:
    assert azure.get(cluster.upper()).json()["id"] == existing["id"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(("resourceGroups/edge", "resourceGroups/none"), (404, "ResourceGroupNotFound"), id="group"),
        pytest.param(("0000000000ed", "00000000dead"), (404, "SubscriptionNotFound"), id="subscription"),
        pytest.param(("connectedClusters", "disconnected"), (404, "InvalidResourceType"), id="type"),
    ],
)
def test_what_is_not_there_is_404_with_its_own_code(
    azure: httpx.Client, cluster: str, path: tuple[str, str], expected: tuple[int, str]
) -> None:
    assert error(azure.get(cluster.replace(*path))) == expected


def body(**changes: Any) -> dict[str, Any]:
    return {**BODY, **changes}


def properties(**changes: Any) -> dict[str, Any]:
    return body(properties={**BODY["properties"], **changes})


EC = base64.b64encode(
    ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        pytest.param(body(location=""), "LocationRequired", id="no location"),
        pytest.param(body(identity={"type": "UserAssigned"}), "InvalidRequestContent", id="identity"),
        pytest.param(body(properties=None), "InvalidRequestContent", id="no properties"),
        pytest.param(body(tags={"a": 1}), "InvalidRequestContent", id="tags"),
        pytest.param(body(surprise=1), "InvalidRequestContent", id="unknown field"),
        pytest.param(properties(surprise=1), "InvalidRequestContent", id="unknown property"),
        pytest.param(properties(agentPublicKeyCertificate=""), "InvalidRequestContent", id="no key"),
        pytest.param(properties(agentPublicKeyCertificate="bm8="), "InvalidRequestContent", id="no such key"),
        pytest.param(properties(agentPublicKeyCertificate=EC), "InvalidRequestContent", id="no RSA key"),
        pytest.param(properties(agentVersion="1.0"), "PropertyReadOnly", id="set by the service"),
    ],
)
def test_a_bad_put_is_refused_and_creates_nothing(
    azure: httpx.Client, cluster: str, wish: dict[str, Any], code: str
) -> None:
    assert error(azure.put(cluster, json=wish)) == (400, code)
    assert error(azure.get(cluster)) == (404, "ResourceNotFound")


def test_what_is_not_json_is_refused(azure: httpx.Client, cluster: str) -> None:
    assert error(azure.put(cluster, content=b"{")) == (400, "InvalidRequestContent")
    assert error(azure.put(cluster, content=b"[]")) == (400, "InvalidRequestContent")


def test_a_patch_may_change_tags_and_little_else(azure: httpx.Client, cluster: str, existing: dict[str, Any]) -> None:
    assert azure.patch(cluster, json={"tags": {"a": "b"}}).json()["tags"] == {"a": "b"}
    refused = azure.patch(cluster, json={"properties": {"agentPublicKeyCertificate": KEY}})
    assert error(refused) == (400, "InvalidRequestContent")


def test_what_the_service_set_may_be_sent_back_unchanged(
    azure: httpx.Client, cluster: str, existing: dict[str, Any]
) -> None:
    assert azure.put(cluster, json=existing).status_code == 200


def test_an_unregistered_provider_is_a_conflict_until_it_is_registered(
    lab: Any, azure: httpx.Client, cluster: str
) -> None:
    provider = f"/subscriptions/{lab.azure.subscription_id}/providers/Microsoft.Kubernetes"
    version = {"api-version": "2021-04-01"}
    assert azure.post(f"{provider}/unregister", params=version).json()["registrationState"] == "NotRegistered"
    try:
        assert error(azure.put(cluster, json=BODY)) == (409, "MissingSubscriptionRegistration")
    finally:
        assert azure.post(f"{provider}/register", params=version).json()["registrationState"] == "Registered"


def test_faults_need_the_admin_token(azure: httpx.Client) -> None:
    assert azure.post("/lab/azure/faults", json={"kind": "silent"}).status_code == 401


def test_a_fault_is_used_up_and_a_wrong_one_is_refused(lab: Any, azure: httpx.Client, cluster: str) -> None:
    fault = {"kind": "refuse", "method": "GET", "path": cluster, "status": 429, "code": "TooMany", "retry_after": 7}
    lab.ask("POST", "/lab/azure/faults", fault)
    refused = azure.get(cluster)
    assert (*error(refused), refused.headers["Retry-After"]) == (429, "TooMany", "7")
    assert error(azure.get(cluster)) == (404, "ResourceNotFound")
    assert lab.ask("GET", "/lab/azure/faults")["faults"] == []
    with pytest.raises(Exception, match="kind"):
        lab.ask("POST", "/lab/azure/faults", {"kind": "earthquake"})
