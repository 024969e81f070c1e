"""How operations that take time are announced and asked after: Azure-AsyncOperation, Location and Retry-After."""

from __future__ import annotations

from edge.lab.azure.http import Answer, ArmFault, Request
from edge.lab.azure.options import AzureOptions
from edge.lab.azure.routes import SUBSCRIPTION, Route
from edge.lab.azure.store import DELETE, Operation, Resource, Store

_PLACE = "/providers/{provider}/locations/{location}"


def pause(seconds: float) -> dict[str, str]:
    """The header that asks for a pause. Retry-After knows whole seconds only; the SDKs also heed milliseconds."""
    if seconds == int(seconds):
        return {"Retry-After": str(int(seconds))}
    return {"x-ms-retry-after-ms": str(round(seconds * 1000))}


def created(
    request: Request, resource: Resource, operation: Operation, options: AzureOptions, *, status: int = 201
) -> Answer:
    """The answer to a PUT that has begun: the resource as it is, and where to ask for the operation."""
    headers = {
        "Azure-AsyncOperation": request.link(_path(resource, operation, "operationStatuses", options)),
        **pause(options.retry_after_s),
    }
    return Answer(status, resource.body, headers)


def accepted(request: Request, resource: Resource, operation: Operation, options: AzureOptions) -> Answer:
    """The answer to a PATCH or DELETE that has begun: nothing yet, and where the result will be."""
    headers = {
        "Location": request.link(_path(resource, operation, "operationResults", options)),
        **pause(options.retry_after_s),
    }
    return Answer(202, None, headers)


def _path(resource: Resource, operation: Operation, place: str, options: AzureOptions) -> str:
    provider = resource.body["type"].partition("/")[0]
    location = resource.body.get("location", options.location)
    return f"/subscriptions/{options.subscription_id}/providers/{provider}/locations/{location}/{place}/{operation.id}"


def refuse_if_busy(store: Store, resource_id: str) -> None:
    """Refuse to change a resource that is being changed.

    Raises:
        ArmFault: 409.
    """
    running = store.pending(resource_id)
    if running is not None:
        raise ArmFault(
            409,
            "OperationInProgress",
            f"The operation '{running.kind}' ({running.id}) is still in progress on '{resource_id}'. Try later.",
        )


class Operations:
    """The addresses under which operations are asked after."""

    def __init__(self, store: Store, options: AzureOptions) -> None:
        self._store = store
        self._options = options

    def routes(self) -> list[Route]:
        """Status and result, by subscription and location."""
        base = SUBSCRIPTION + _PLACE
        return [
            Route("GET", base + "/operationStatuses/{operation}", self._status),
            Route("GET", base + "/operationResults/{operation}", self._result),
        ]

    def _status(self, request: Request, names: dict[str, str]) -> Answer:
        operation = self._store.operation(names["operation"])
        return Answer(200, operation.body(request.path), self._headers(operation))

    def _result(self, request: Request, names: dict[str, str]) -> Answer:
        operation = self._store.operation(names["operation"])
        if operation.status == "InProgress":
            return Answer(202, None, {"Location": request.link(request.path), **self._headers(operation)})
        if operation.error:
            raise ArmFault(409, operation.error["code"], operation.error["message"])
        if operation.kind == DELETE:
            return Answer(204)
        return Answer(200, self._store.get(operation.resource_id).body)

    def _headers(self, operation: Operation) -> dict[str, str]:
        return pause(self._options.retry_after_s) if operation.status == "InProgress" else {}
