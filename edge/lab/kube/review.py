"""What admission is asked about one write: which object becomes which, by whom, and what for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from edge.lab.kube.call import Call, Target
from edge.lab.kube.discovery import subresource_kind
from edge.lab.kube.resources import NAMESPACES, ResourceType, builtin
from edge.lab.kube.store import Obj, SiteStore

_OPTIONS: Final = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}
_EXEMPT: Final = "admissionregistration.k8s.io"
"""What rules admission is not subject to it: nobody can lock himself out for good."""


@dataclass
class Review:
    """One write before it is kept. `obj` is None for DELETE, `old` for CREATE."""

    store: SiteStore
    call: Call
    target: Target
    obj: Obj | None
    old: Obj | None

    @property
    def operation(self) -> str:
        """The operation in admission's words."""
        return "DELETE" if self.obj is None else "CREATE" if self.old is None else "UPDATE"

    @property
    def resource(self) -> ResourceType:
        """What kind of object it is about."""
        return self.target.resource

    @property
    def exempt(self) -> bool:
        """Whether admission does not look at it."""
        return self.resource.group == _EXEMPT

    @cached_property
    def name(self) -> str:
        """The object's name; "" while it is still to be made up."""
        return self.target.name or str(((self.obj or self.old or {}).get("metadata") or {}).get("name") or "")

    @property
    def full(self) -> str:
        """The resource as rules name it: `pods`, `pods/eviction`."""
        sub = self.target.subresource
        return f"{self.resource.plural}/{sub}" if sub else self.resource.plural

    @cached_property
    def namespace(self) -> Obj | None:
        """The namespace that the object is in, or (a Namespace) is itself; None for other cluster-wide objects."""
        if self.resource.key == NAMESPACES:
            return self.obj or self.old
        if not self.resource.namespaced:
            return None
        return self.store.get(builtin("namespaces"), "", self.target.namespace)

    @cached_property
    def request(self) -> dict[str, Any]:
        """`request` as CEL and webhooks see it: an AdmissionRequest without the objects."""
        kind = dict(zip(("group", "version", "kind"), self._kind(), strict=True))
        resource = {"group": self.resource.group, "version": self.resource.version, "resource": self.resource.plural}
        shown: dict[str, Any] = {"kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource}
        shown |= {"operation": self.operation, "userInfo": self.call.user.info(), "dryRun": self.call.dry_run}
        shown["options"] = self._options()
        if self.target.subresource:
            shown["subResource"] = shown["requestSubResource"] = self.target.subresource
        if self.name:
            shown["name"] = self.name
        place = self.target.namespace or (self.name if self.resource.key == NAMESPACES else "")
        if place:
            shown["namespace"] = place
        return shown

    def _kind(self) -> tuple[str, str, str]:
        if self.target.subresource:
            return subresource_kind(self.resource, self.target.subresource)
        return self.resource.group, self.resource.version, self.resource.kind

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"kind": _OPTIONS[self.operation], "apiVersion": "meta.k8s.io/v1"}
        if self.call.dry_run:
            options["dryRun"] = ["All"]
        if self.operation != "DELETE":
            for word in ("fieldManager", "fieldValidation"):
                if self.call.query.get(word):
                    options[word] = self.call.query[word]
        return options
