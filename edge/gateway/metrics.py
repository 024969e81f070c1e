"""What the gateway counts, in a registry of its own so that two gateways in one process do not mix."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edge.policy.event import Arrival

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class GatewayMetrics:
    """Counters and gauges; `text` gives them in Prometheus' format. Labels hold only words this package chose."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = self._counter("events_accepted", "Events taken, repeats among them", "type")
        self.duplicate = self._counter("events_duplicate", "Events that had been there before")
        self.superseded = self._counter("events_superseded", "Registrations older than the one on record")
        self.challenges = self._counter("challenges_given", "Challenges given to devices", "via")
        self.rejected = self._counter("requests_rejected", "Requests refused; nothing of them was stored", "reason")
        self.messages = self._counter("mqtt_messages", "MQTT messages answered and acknowledged", "kind", "outcome")
        self.connects = self._counter("mqtt_connects", "Connections made to the MQTT broker")
        self.connected = Gauge("edge_gateway_mqtt_connected", "1 while the broker is there", registry=self.registry)
        self.sent = self._counter("registrations_sent", "Registrations passed on to the Prefect server")
        self.batches = self._counter("batches_sent", "Prefect events sent, one for many registrations")
        self.resent = self._counter("batches_resent", "Batches sent again because no run had claimed them")
        self.returned = self._counter("sites_returned", "Sites that came back to something to catch up with")
        self.send_failures = self._counter("send_failures", "Tries to pass a batch on that failed", "code")
        self.pending = Gauge("edge_gateway_pending", "Registrations not passed on yet", registry=self.registry)
        self.seconds = Histogram(
            "edge_gateway_request_seconds", "Time to answer POST /events", buckets=_SECONDS, registry=self.registry
        )

    def count(self, arrivals: Sequence[Arrival], *, duplicate: int, superseded: int) -> None:
        """Count a request whose events were taken; repeats count as accepted too."""
        for arrival in arrivals:
            self.accepted.labels(arrival.type).inc()
        self.duplicate.inc(duplicate)
        self.superseded.inc(superseded)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"edge_gateway_{name}", what, labels, registry=self.registry)
