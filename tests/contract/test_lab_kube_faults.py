"""What goes wrong inside a site's API server: webhooks that refuse or fail, a full disk, a clock that is wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from edge.lab.clock import LabClock, SiteClock
from edge.lab.kube.call import TROUBLES, admin_user
from edge.lab.kube.seeds import seed
from edge.lab.kube.server import SiteServer
from edge.lab.kube.store import SiteStore
from edge.lab.kube.webhook_answer import WebhookMode
from edge.lab.weather import FailingWebhook, Fault, FullDisk, ServerTroubles
from tests.contract.lab_kube_site import ADMIN, CM, Site, config_map

_HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_SERVICES = "/api/v1/namespaces/default/services"
_ANSWER = "lab.edge-platform.io/webhook"
_CALLED = 'failed calling webhook "guard.example.com": failed to call webhook: '
_URL = 'Post "https://guard.default.svc:443/check?timeout=2s": '


def _hook(site: Site, *, policy: str = "Fail", answer: str = "", **more: Any) -> None:
    if answer:
        service = {"metadata": {"name": "guard", "annotations": {_ANSWER: answer}}, "spec": {"ports": [{"port": 443}]}}
        site.make(_SERVICES, service)
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    where = {"service": {"name": "guard", "namespace": "default", "path": "/check"}}
    hook: dict[str, Any] = {"name": "guard.example.com", "clientConfig": where, "rules": [rule]}
    hook |= {
        "failurePolicy": policy,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 2,
        **more,
    }
    site.make(_HOOKS, {"metadata": {"name": "guard"}, "webhooks": [hook]})


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ("{mode: reject, message: not now}", 403, 'admission webhook "guard.example.com" denied the request: not now'),
        (
            "{mode: reject, code: 400}",
            400,
            'admission webhook "guard.example.com" denied the request without explanation',
        ),
        ("", 500, f'Internal error occurred: {_CALLED}{_URL}service "guard" not found'),
        ("{mode: error, message: oh}", 500, f'Internal error occurred: {_CALLED}an error on the server ("oh") has'),
        ("{mode: refused}", 500, f"Internal error occurred: {_CALLED}{_URL}dial tcp 10.96."),
    ],
    ids=["reject", "without-words", "no-service", "error", "refused"],
)
def test_a_webhook_refuses_or_fails_closed(site: Site, answer: str, code: int, message: str) -> None:
    _hook(site, answer=answer)
    reply = site.call("POST", CM, config_map("a"))
    assert reply.code == code
    assert reply.body["message"].startswith(message)
    assert site.call("GET", f"{CM}/a").code == 404


def test_a_silent_webhook_is_waited_for(site: Site) -> None:
    _hook(site, answer="{mode: silent}")
    site.on_loop(lambda: site.clock.set_rate(1000))
    before = site.on_loop(site.clock.monotonic)
    reply = site.call("POST", CM, config_map("a"))
    assert reply.body["message"].endswith(f"{_URL}context deadline exceeded")
    assert site.on_loop(site.clock.monotonic) - before >= 2


def test_a_webhook_that_fails_open_or_allows_lets_the_write_pass(site: Site) -> None:
    _hook(site, policy="Ignore")
    site.make(CM, config_map("a"))
    site.make(
        _SERVICES, {"metadata": {"name": "guard", "annotations": {_ANSWER: "{}"}}, "spec": {"ports": [{"port": 443}]}}
    )
    site.make(CM, config_map("b"))


def test_a_webhook_is_asked_about_what_its_rules_and_conditions_name(site: Site) -> None:
    condition = {"name": "guarded", "expression": "object.metadata.name.startsWith('guarded-')"}
    _hook(site, answer="{mode: reject}", matchConditions=[condition])
    site.make(CM, config_map("a"))
    assert site.call("POST", CM, config_map("guarded-a")).code == 403
    assert site.call("POST", f"{CM}?dryRun=All", config_map("guarded-a")).code == 403
    assert site.call("DELETE", f"{CM}/a").code == 200


def test_a_condition_that_cannot_be_evaluated_refuses_as_the_webhooks_policy_says(site: Site) -> None:
    _hook(site, answer="{}", matchConditions=[{"name": "spec", "expression": "object.spec.x"}])
    reply = site.call("POST", CM, config_map("a"))
    told = "configmaps \"a\" is forbidden: expression 'object.spec.x' resulted in error: no such key: spec"
    assert (reply.code, reply.body["message"]) == (403, told)


def test_a_webhook_whose_condition_does_not_compile_is_not_taken(site: Site) -> None:
    hook: dict[str, Any] = {"name": "a.b.c", "clientConfig": {"url": "https://away.example/"}, "sideEffects": "None"}
    hook |= {"admissionReviewVersions": ["v1"], "matchConditions": [{"name": "x", "expression": "object."}]}
    reply = site.call("POST", _HOOKS, {"metadata": {"name": "guard"}, "webhooks": [hook]})
    assert reply.causes == [("webhooks[0].matchConditions[0].expression", "FieldValueInvalid")]


def _asked(faults: Sequence[Fault], *requests: tuple[str, str, Any]) -> list[tuple[int, Any]]:
    """The answers of a fresh site with these faults inside; no socket is needed for that."""
    clock = LabClock()
    store = SiteStore("site", clock.now)
    server = SiteServer(store, clock, {ADMIN: admin_user()})
    seed(store, "")

    async def troubled(scope: Any, receive: Any, send: Any) -> None:
        await server({**scope, "extensions": {TROUBLES: ServerTroubles(faults)}}, receive, send)

    async def run() -> list[tuple[int, Any]]:
        head = {"authorization": f"Bearer {ADMIN}", "content-type": "application/json"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(troubled), base_url="http://site", headers=head
        ) as http:
            replies = [
                await http.request(one, path, content=json.dumps(body) if body else None)
                for one, path, body in requests
            ]
        return [(reply.status_code, reply.json()) for reply in replies]

    return asyncio.run(run())


def test_a_full_disk_keeps_nothing_more_and_lets_go() -> None:
    made, dry, taken, changed = _asked(
        [FullDisk()],
        ("POST", CM, config_map("a")),
        ("POST", f"{CM}?dryRun=All", config_map("a")),
        ("DELETE", f"{CM}/kube-root-ca.crt", None),
        ("PUT", "/api/v1/namespaces/default", {"metadata": {"name": "default", "labels": {"a": "b"}}}),
    )
    assert made[0] == 500
    assert made[1]["message"] == "etcdserver: mvcc: database space exceeded"
    assert "reason" not in made[1]
    assert (dry[0], taken[0], changed[0]) == (201, 200, 500)


def test_the_weather_makes_a_webhook_fail() -> None:
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}
    where = {"service": {"name": "guard", "namespace": "default"}}
    hook = {"name": "guard.example.com", "clientConfig": where, "rules": [rule], "sideEffects": "None"}
    hook["admissionReviewVersions"] = ["v1"]
    service = {"metadata": {"name": "guard"}, "spec": {"ports": [{"port": 443}]}}
    replies = _asked(
        [FailingWebhook(service="gu*", mode=WebhookMode.REJECT, message="not today")],
        ("POST", _SERVICES, service),
        ("POST", _HOOKS, {"metadata": {"name": "guard"}, "webhooks": [hook]}),
        ("POST", CM, config_map("a")),
    )
    assert [code for code, _ in replies] == [201, 201, 403]
    assert replies[-1][1]["message"].endswith("denied the request: not today")


def test_a_clock_that_is_half_an_hour_ahead_shows_in_what_is_written_and_ends_tokens_early() -> None:
    clock = SiteClock(LabClock())
    store = SiteStore("site", clock.now)
    server = SiteServer(store, clock, {})
    seed(store, "")
    token, _ = server.site.issue_token("default", "default", "uid", 1200)
    assert server.site.user_of(token) is not None
    clock.skew_s = 1800
    assert server.site.user_of(token) is None
    ahead = datetime.fromisoformat(server.site.now()) - datetime.now(UTC)
    assert 1700 < ahead.total_seconds() < 1900
