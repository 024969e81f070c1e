"""How the lab's API server says no: one exception that carries a Kubernetes Status.

Texts follow a real kube-apiserver, because clients, people and our own error translation read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.lab.kube.resources import ResourceType

Cause = dict[str, str]


class ApiError(Exception):
    """A refused request: HTTP code, machine-readable reason, message, details and extra response headers."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers

    def status(self) -> dict[str, Any]:
        """The Status object that goes over the wire."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return {**body, "code": self.code}


def success(resource: ResourceType, name: str, uid: str) -> dict[str, Any]:
    """The Status a deletion answers with."""
    details = {"name": name, "kind": resource.plural, "uid": uid}
    if resource.group:
        details["group"] = resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _details(resource: ResourceType, name: str = "", causes: Sequence[Cause] = ()) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    if causes:
        details["causes"] = list(causes)
    return details


def not_found(resource: ResourceType, name: str) -> ApiError:
    """404 for one object."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def no_such_path() -> ApiError:
    """404 for a path nobody serves."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: ResourceType, name: str) -> ApiError:
    """409 on create."""
    return ApiError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', _details(resource, name))


def conflict(resource: ResourceType, name: str, why: str = "") -> ApiError:
    """409: written in between, or a precondition does not hold."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", text, _details(resource, name))


def apply_conflict(message: str, causes: Sequence[Cause]) -> ApiError:
    """409 of a server-side apply: fields belong to other managers. A real server does not name the object here."""
    return ApiError(409, "Conflict", message, {"causes": list(causes)})


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with one cause per wrong field."""
    lines = [f"{cause['field']}: {cause['message']}" for cause in causes]
    text = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    qualified = f"{kind}.{group}" if group else kind
    details: dict[str, Any] = {"kind": kind, "causes": list(causes)}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    return ApiError(422, "Invalid", f'{qualified} "{name}" is invalid: {text}', details)


def invalid_patch(resource: ResourceType, name: str, why: str) -> ApiError:
    """422 of a patch that cannot be carried out."""
    return invalid(resource.kind, resource.group, name, [cause("patch", "FieldValueInvalid", f"Invalid value: {why}")])


def cause(field: str, reason: str, message: str) -> Cause:
    """One wrong field."""
    return {"reason": reason, "message": message, "field": field}


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401: the token is not known."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: ResourceType, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """403 from admission or authorisation."""
    what = f'{resource.qualified} "{name}"' if name else resource.qualified
    return ApiError(403, "Forbidden", f"{what} is forbidden: {why}", _details(resource, name, causes))


def expired(message: str) -> ApiError:
    """410: the revision or continue token is older than what the server still knows."""
    return ApiError(410, "Expired", message)


def method_not_allowed() -> ApiError:
    """405."""
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media(got: str, known: Sequence[str]) -> ApiError:
    """415."""
    text = (
        f"the body of the request was in an unknown format ({got}) - accepted media types include: {', '.join(known)}"
    )
    return ApiError(415, "UnsupportedMediaType", text, {})


def too_many(message: str, causes: Sequence[Cause]) -> ApiError:
    """429 of an eviction that a disruption budget does not allow.

    Without Retry-After, as on a real server: nobody knows when it will do, and kubectl would wait in the dark.
    """
    return ApiError(429, "TooManyRequests", message, {"causes": list(causes)})
