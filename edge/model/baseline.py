"""What every site gets before any stamp, as an operator's data."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from edge.model.base import Value

Amount = Annotated[
    str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$", max_length=32)
]
"""A quantity as Kubernetes writes it: `500m`, `8Gi`."""

Amounts = dict[str, Amount]
NamespaceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]

FENCE = frozenset(
    {
        "*",
        "clusterrolebindings",
        "clusterroles",
        "limitranges",
        "namespaces",
        "networkpolicies",
        "resourcequotas",
        "rolebindings",
        "roles",
        "serviceaccounts",
        "serviceaccounts/token",
    }
)
"""What the fence is made of, or leads over it: a tenant may read these at most."""

_READING = frozenset({"get", "list", "watch"})


class _Data(Value):
    """Values that are written in YAML, in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class PodSecurity(StrEnum):
    """The levels of the Pod Security Standards."""

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"


class PodSecurityLevels(_Data):
    """What a namespace refuses, what it warns of, and what it writes into the server's audit log."""

    enforce: PodSecurity = PodSecurity.BASELINE
    warn: PodSecurity = PodSecurity.RESTRICTED
    audit: PodSecurity = PodSecurity.RESTRICTED


class ContainerLimits(_Data):
    """What a container gets that says nothing (`default` and `default_request`), and what it may have at most."""

    default: Amounts
    default_request: Amounts
    max: Amounts = Field(min_length=1)


class Right(_Data):
    """One rule of the tenant's role."""

    api_groups: tuple[str, ...] = Field(min_length=1)
    resources: tuple[str, ...] = Field(min_length=1)
    verbs: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _stays_inside_the_fence(self) -> Self:
        reached = FENCE & {*self.resources}
        if reached and not _READING.issuperset(self.verbs):
            raise ValueError(f"a tenant may not change {', '.join(sorted(reached))}: its fence is made of them")
        return self


class TenantNamespace(_Data):
    """The fenced namespace of a site's tenant. Its pods speak with each other and with DNS; all else is opened later.

    `dns_namespace` is where the cluster's DNS answers.
    """

    pod_security: PodSecurityLevels = PodSecurityLevels()
    quota: Amounts = Field(min_length=1)
    limits: ContainerLimits
    rights: tuple[Right, ...] = Field(min_length=1)
    dns_namespace: NamespaceName = "kube-system"


class PlatformNamespace(_Data):
    """Where the platform's own objects and the node agents live. Node agents need the host, hence the level."""

    name: NamespaceName = "edge-system"
    pod_security: PodSecurityLevels = PodSecurityLevels(
        enforce=PodSecurity.PRIVILEGED, warn=PodSecurity.BASELINE, audit=PodSecurity.BASELINE
    )


class AgentsNamespace(_Data):
    """Where Azure Arc's agents live, and the TCP ports that they may reach: the cloud's, and the API server's."""

    name: NamespaceName = "azure-arc"
    egress_ports: tuple[Port, ...] = Field(default=(443, 6443), min_length=1)


class DefaultStorageClass(_Data):
    """The storage class of a cluster that has no default one. A cluster that has one keeps it."""

    name: NamespaceName
    provisioner: str = Field(min_length=1, max_length=253)
    parameters: dict[str, str] = {}
    reclaim_policy: Literal["Delete", "Retain"] = "Delete"
    volume_binding_mode: Literal["Immediate", "WaitForFirstConsumer"] = "WaitForFirstConsumer"


class LogLevel(StrEnum):
    """How much node agents tell."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class SiteSettings(_Data):
    """What node agents read: whose time holds, and how logs are kept. The time zone is the site's own."""

    time_servers: tuple[Host, ...] = Field(min_length=1, max_length=16)
    log_level: LogLevel = LogLevel.INFO
    log_retention_days: int = Field(default=14, ge=1, le=3650)


class Baseline(_Data):
    """What every site gets before any stamp. Kept as YAML."""

    api_version: Literal["edge-platform.io/v1"] = "edge-platform.io/v1"
    kind: Literal["Baseline"] = "Baseline"
    tenant_namespace: TenantNamespace
    platform_namespace: PlatformNamespace = PlatformNamespace()
    agents_namespace: AgentsNamespace = AgentsNamespace()
    storage_class: DefaultStorageClass | None = None
    """None: a cluster without a default storage class stays without one, and that is said."""
    settings: SiteSettings


class ProbeVerb(StrEnum):
    """What a probe tries."""

    CREATE = "create"
    """As a dry run."""
    LIST = "list"
    """Only what has a name that nothing has: if it is allowed after all, nothing is read."""


class Probe(Value):
    """Something that is tried at a site as its tenant. `target` is the object to create, or kind and place to list.

    `refused_by` is a regular expression that the refusal must match: what refuses, and for what. Empty: it must be
    allowed.
    """

    name: str
    verb: ProbeVerb = ProbeVerb.CREATE
    target: dict[str, object]
    refused_by: str = ""
