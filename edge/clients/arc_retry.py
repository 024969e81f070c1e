"""The one layer that tries Azure requests again.

azure-core would retry by its own policy, which the SDKs put into every pipeline. We put this one in its place, so that
nothing is multiplied: one request of the pipeline (a call of ours, or one poll of a long-running operation) is tried
under `edge.clients.retry`; a Prefect task tries a whole site again, later. Token requests go through a pipeline of
their own in azure-identity, which retries them a few times by itself.

Every request is idempotent in Resource Manager: PUT replaces, DELETE of what is gone is fine, POSTs read or register.
"""

from __future__ import annotations

from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse

from edge.clients.arc_errors import of_connection, of_status
from edge.clients.retry import Retrier, RetryPolicy


class RequestRetries(HTTPPolicy[HttpRequest, HttpResponse]):
    """Takes the place of azure-core's retry policy. Raises `edge.errors.Transient` when the tries are used up."""

    def __init__(self, policy: RetryPolicy) -> None:
        super().__init__()
        self._retrier = Retrier(policy)

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        """Send the request on, again if need be."""
        return self._retrier.run(lambda: self._once(request))

    def _once(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        url = _plain(request.http_request.url)
        try:
            response = self.next.send(request)
        except AzureError as error:
            ours = of_connection(error, url)
            if ours is None:
                raise
            raise ours from error
        answer = response.http_response
        late = of_status(answer.status_code, _retry_after(answer), url)
        if late is not None:
            answer.close()
            raise late
        return response


def _plain(url: str) -> str:
    """The address without its query, which may hold page tokens."""
    return url.partition("?")[0]


def _retry_after(answer: HttpResponse) -> float | None:
    """Seconds, when the answer gives them as a number. A date is as good as nothing said: clocks differ."""
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "")))
    except ValueError:
        return None
