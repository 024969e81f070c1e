"""Bad weather as a client meets it on the wire."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import time
from collections import Counter
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from edge.errors import InvalidInput, NotFound

NODES = "/api/v1/nodes"
CONFIG = "/api/v1/namespaces/default/configmaps"


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: dict[str, Any]


class Wire:
    """One site, as seen by a client that has nothing but a kubeconfig."""

    def __init__(self, kubeconfig: str, timeout_s: float = 10.0) -> None:
        config = json.loads(Path(kubeconfig).read_text())
        cluster = config["clusters"][0]["cluster"]
        self.server = urlsplit(cluster["server"])
        self._token = config["users"][0]["user"]["token"]
        self._context = ssl.create_default_context()
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._context.load_verify_locations(cadata=ca)
        self._timeout_s = timeout_s

    def ask(self, path: str = NODES, method: str = "GET", body: object = None) -> Reply:
        connection = http.client.HTTPSConnection(self.server.netloc, timeout=self._timeout_s, context=self._context)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            data = None if body is None else json.dumps(body)
            connection.request(method, self.server.path + path, data, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, json.loads(answer.read()))
        finally:
            connection.close()

    def watch(self, path: str) -> tuple[contextlib.closing[http.client.HTTPSConnection], http.client.HTTPResponse]:
        """An open watch and its connection."""
        connection = http.client.HTTPSConnection(self.server.netloc, timeout=self._timeout_s, context=self._context)
        query = f"{'&' if '?' in path else '?'}watch=true"
        connection.request("GET", self.server.path + path + query, headers={"Authorization": f"Bearer {self._token}"})
        return contextlib.closing(connection), connection.getresponse()


@pytest.fixture(scope="module")
def lab(lab_factory):
    """A lab whose weather and clock these tests may change."""
    return lab_factory("--sites", "4")


@pytest.fixture
def storm(lab):
    """Sets faults at the third site and lifts them afterwards."""
    site = lab.sites[2]
    yield lambda kind, **settings: lab.fault(site.name, kind, **settings)
    lab.lift(site.name)


@pytest.fixture
def wire(lab):
    return Wire(lab.sites[2].kubeconfig)


def test_a_site_that_is_offline_resets_the_connection(storm, wire):
    storm("offline", mode="reset")

    with pytest.raises(ConnectionResetError):
        wire.ask()


def test_a_watch_that_is_open_is_cut_when_the_site_goes_offline(storm, wire):
    connection, watch = wire.watch(CONFIG)
    storm("offline", mode="reset")

    with connection, pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        watch.read()


def test_a_watch_on_a_silent_site_hears_what_happened_when_the_line_is_back(lab, storm, wire):
    connection, watch = wire.watch(f"{CONFIG}?resourceVersion={wire.ask(CONFIG).body['metadata']['resourceVersion']}")
    storm("offline", mode="silent")
    lab.lift(lab.sites[2].name)
    wire.ask(CONFIG, "POST", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after"}})

    with connection:
        assert json.loads(watch.readline())["object"]["metadata"]["name"] == "after"


def test_other_sites_do_not_feel_it(lab, storm):
    storm("offline", mode="reset")

    assert Wire(lab.sites[1].kubeconfig).ask().status == 200


def test_a_silent_site_takes_the_request_and_never_answers(lab, storm):
    storm("offline", mode="silent")

    with pytest.raises(TimeoutError):
        Wire(lab.sites[2].kubeconfig, timeout_s=0.5).ask()


def test_a_site_comes_back_when_its_fault_is_lifted(lab, storm, wire):
    storm("offline")
    lab.lift(lab.sites[2].name)

    assert wire.ask().status == 200


def test_a_fault_with_a_length_ends_by_itself(lab, storm, wire):
    storm("offline", for_s=30)
    lab.ask("PUT", "/lab/clock", {"advance_s": 31})

    assert wire.ask().status == 200


def test_a_throttled_site_answers_429_and_says_for_how_long(storm, wire):
    storm("throttled", retry_after_s=7)

    reply = wire.ask()

    assert (reply.status, reply.headers["Retry-After"]) == (429, "7")
    assert (reply.body["kind"], reply.body["reason"]) == ("Status", "TooManyRequests")


def test_a_rate_lets_so_many_requests_through(storm, wire):
    storm("throttled", per_second=1000)

    assert wire.ask().status == 200


def test_a_failing_site_answers_5xx_and_changes_nothing(lab, storm, wire):
    storm("server-error", status=503)

    reply = wire.ask(CONFIG, "POST", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "never"}})
    lab.lift(lab.sites[2].name)

    assert (reply.status, reply.body["reason"]) == (503, "ServiceUnavailable")
    assert wire.ask(f"{CONFIG}/never").status == 404


def test_an_expired_token_is_unauthorized(storm, wire):
    storm("expired-token")

    assert (wire.ask().status, wire.ask().body["reason"]) == (401, "Unauthorized")


def test_a_lossy_site_loses_some_requests_and_serves_others(storm, wire):
    storm("lossy", share=0.5)
    seen: Counter[str] = Counter()
    for _ in range(60):
        try:
            seen[str(wire.ask().status)] += 1
        except ConnectionResetError:
            seen["reset"] += 1

    assert set(seen) == {"200", "reset"}


def test_a_lossy_site_may_have_acted_on_a_request_whose_answer_was_lost(lab, storm, wire):
    storm("lossy", share=1)
    names = [f"lost-{number}" for number in range(24)]
    for name in names:
        with pytest.raises(ConnectionResetError):
            wire.ask(CONFIG, "POST", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
    lab.lift(lab.sites[2].name)

    arrived = {item["metadata"]["name"] for item in wire.ask(CONFIG).body["items"]} & set(names)

    assert 0 < len(arrived) < len(names)


def test_a_slow_site_answers_late_in_lab_time(lab, storm, wire):
    storm("slow", latency_s=0.3, jitter_s=0)
    before = lab.ask("GET", "/lab/clock")["elapsed_s"]

    assert wire.ask().status == 200
    assert lab.ask("GET", "/lab/clock")["elapsed_s"] - before >= 0.3


def test_a_trickle_of_bandwidth_gives_the_whole_answer(storm, wire):
    whole = wire.ask("/openapi/v3/api/v1").body
    storm("slow", latency_s=0, jitter_s=0, bytes_per_s=20_000_000)

    assert wire.ask("/openapi/v3/api/v1").body == whole


def test_a_wrong_clock_shows_in_the_date_and_in_time_stamps(storm, wire):
    storm("wrong-clock", skew_s=-86400)

    reply = wire.ask(CONFIG, "POST", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "yesterday"}})

    shown = parsedate_to_datetime(reply.headers["Date"])
    stamped = datetime.fromisoformat(reply.body["metadata"]["creationTimestamp"])
    assert 86000 < (datetime.now(UTC) - shown).total_seconds() < 87000
    assert abs((stamped - shown).total_seconds()) < 5


def test_nobody_listens_at_the_address_of_a_site_that_is_away_from_the_start(lab_factory):
    lab = lab_factory("--sites", "12", "--scenario", "demo")
    away = Wire(lab.site("site-0012").kubeconfig)

    assert [site.name for site in lab.sites if site.offline] == ["site-0012"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((away.server.hostname, away.server.port), timeout=5)

    lab.lift("site-0012")
    assert until_it_answers(away) == 200


def until_it_answers(wire: Wire) -> int:
    for _ in range(100):
        try:
            return wire.ask().status
        except ConnectionRefusedError:
            time.sleep(0.05)
    return 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param({"kind": "hail"}, "hail", id="unknown kind"),
        pytest.param({"kind": "lossy", "share": 3}, "share", id="share above one"),
        pytest.param([], "kind", id="not an object"),
    ],
)
def test_a_wrong_fault_is_refused_by_the_admin_api(lab, body, said):
    with pytest.raises(InvalidInput) as caught:
        lab.ask("PUT", f"/lab/sites/{lab.sites[2].name}/faults", body)

    assert said in str(caught.value)


def test_a_site_that_does_not_exist_is_named(lab):
    with pytest.raises(NotFound, match="no such site"):
        lab.ask("GET", "/lab/sites/site-9999/faults")


def test_the_request_log_tells_who_asked_what(lab, wire):
    lab.ask("DELETE", f"/lab/sites/{lab.sites[2].name}/requests")
    wire.ask()

    log = lab.ask("GET", f"/lab/sites/{lab.sites[2].name}/requests")

    assert log["counts"] == {"GET 200": 1}
    assert [(line["method"], line["path"], line["status"]) for line in log["requests"]] == [("GET", NODES, 200)]
