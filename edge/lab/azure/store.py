"""What the pretend Azure remembers: resources, and operations that take time.

Nothing runs in the background. An operation has a lab time at which it ends, and whatever is due is settled when the
next request comes in, so an idle Azure costs nothing and a restart loses nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from edge.lab.azure.http import ArmFault, error_body
from edge.lab.azure.options import Clock

KEEP_OPERATIONS = 10_000
"""Ended operations beyond this many are forgotten, oldest first."""


@dataclass
class Resource:
    """One resource: `body` is what callers see, `hidden` is what the service keeps to itself."""

    body: dict[str, Any]
    hidden: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The resource id in the case it was created with."""
        return str(self.body["id"])

    @property
    def properties(self) -> dict[str, Any]:
        """The resource's own part of the body."""
        properties: dict[str, Any] = self.body["properties"]
        return properties


@dataclass
class Operation:
    """A long-running operation. `ends` is lab time in ISO 8601; `error` is set when it is going to fail."""

    id: str
    kind: str
    resource_id: str
    starts: str
    ends: str
    status: str = "InProgress"
    error: dict[str, Any] | None = None

    def body(self, operation_path: str) -> dict[str, Any]:
        """The operation as its status address shows it."""
        shown: dict[str, Any] = {
            "id": operation_path,
            "name": self.id,
            "status": self.status,
            "resourceId": self.resource_id,
            "startTime": self.starts,
        }
        if self.status != "InProgress":
            shown["endTime"] = self.ends
        if self.status == "Failed":
            shown["error"] = self.error
        return shown


DELETE = "delete"


class Store:
    """Resources and operations, kept in `file` when one is given."""

    def __init__(self, clock: Clock, file: Path | None = None) -> None:
        self._clock = clock
        self._file = file
        self._resources: dict[str, Resource] = {}
        self._operations: dict[str, Operation] = {}
        self._running: dict[str, Operation] = {}
        self.secrets: dict[str, str] = {}
        self.dirty = False
        if file is not None and file.exists():
            self._restore(orjson.loads(file.read_bytes()))

    def now(self) -> datetime:
        """Lab time."""
        return self._clock.now()

    # Resources

    def find(self, resource_id: str) -> Resource | None:
        """The resource with this id, in whatever case."""
        return self._resources.get(resource_id.lower())

    def get(self, resource_id: str) -> Resource:
        """The resource with this id.

        Raises:
            ArmFault: 404 in Resource Manager's words.
        """
        resource = self.find(resource_id)
        if resource is None:
            raise not_found(resource_id)
        return resource

    def put(self, resource: Resource) -> None:
        """Store a new or changed resource."""
        self._resources[resource.id.lower()] = resource
        self.dirty = True

    def of_type(self, resource_type: str, prefix: str = "/") -> Iterator[Resource]:
        """Resources of a type whose id starts with `prefix`, in order of id."""
        for key in sorted(self._resources):
            if key.startswith(prefix.lower()) and self._resources[key].body["type"].lower() == resource_type.lower():
                yield self._resources[key]

    def remove(self, resource_id: str) -> None:
        """Remove a resource and everything below it."""
        key = resource_id.lower()
        for name in [name for name in self._resources if name == key or name.startswith(key + "/")]:
            del self._resources[name]
        self.dirty = True

    # Operations

    def begin(self, kind: str, resource_id: str, seconds: float) -> Operation:
        """Start an operation that ends after `seconds` lab seconds."""
        now = self.now()
        operation = Operation(
            id=str(uuid.uuid4()),
            kind=kind,
            resource_id=resource_id,
            starts=now.isoformat(),
            ends=(now + timedelta(seconds=seconds)).isoformat(),
        )
        self._operations[operation.id] = self._running[operation.id] = operation
        self._forget()
        self.dirty = True
        return operation

    def doom(self, resource_id: str, code: str, message: str) -> None:
        """Let the operation that is changing a resource end in failure, if there is one."""
        operation = self.pending(resource_id)
        if operation is not None:
            operation.error = error_body(code, message)

    def operation(self, operation_id: str) -> Operation:
        """The operation with this id.

        Raises:
            ArmFault: 404.
        """
        operation = self._operations.get(operation_id.lower())
        if operation is None:
            raise ArmFault(404, "OperationNotFound", f"The operation '{operation_id}' was not found.")
        return operation

    def pending(self, resource_id: str) -> Operation | None:
        """The operation that is changing this resource right now."""
        key = resource_id.lower()
        return next((one for one in self._running.values() if one.resource_id.lower() == key), None)

    def settle(self, finished: Callable[[Operation, Resource], None]) -> None:
        """End the operations that are due; `finished` is told of each whose resource is still there."""
        now = self.now()
        for operation in list(self._running.values()):
            if datetime.fromisoformat(operation.ends) <= now:
                self._end(operation, finished)

    def _forget(self) -> None:
        surplus = len(self._operations) - KEEP_OPERATIONS
        if surplus > 0:
            ended = [key for key in self._operations if key not in self._running]
            for key in ended[:surplus]:
                del self._operations[key]

    def _end(self, operation: Operation, finished: Callable[[Operation, Resource], None]) -> None:
        operation.status = "Failed" if operation.error else "Succeeded"
        del self._running[operation.id]
        self.dirty = True
        resource = self.find(operation.resource_id)
        if resource is None:
            return
        if operation.kind == DELETE and not operation.error:
            self.remove(operation.resource_id)
        else:
            finished(operation, resource)

    # Keeping

    def save(self) -> None:
        """Write everything down, if anything changed and there is a file to write to."""
        if self._file is None or not self.dirty:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_bytes(orjson.dumps(self._snapshot()))
        draft.replace(self._file)
        self.dirty = False

    def _snapshot(self) -> dict[str, Any]:
        return {
            "resources": [asdict(resource) for resource in self._resources.values()],
            "operations": [asdict(operation) for operation in self._operations.values()],
            "secrets": self.secrets,
        }

    def _restore(self, data: dict[str, Any]) -> None:
        for item in data["resources"]:
            resource = Resource(**item)
            self._resources[resource.id.lower()] = resource
        self._operations = {item["id"]: Operation(**item) for item in data["operations"]}
        self._running = {key: one for key, one in self._operations.items() if one.status == "InProgress"}
        self.secrets = data["secrets"]


def not_found(resource_id: str) -> ArmFault:
    """404 as Resource Manager says it for a resource in a group."""
    parts = resource_id.strip("/").split("/")
    kind = "/".join(parts[5:])
    group = parts[3] if len(parts) > 3 else ""
    return ArmFault(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}' under resource group '{group}' was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix",
    )
