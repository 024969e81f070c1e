"""Which Azure subscription connected sites belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from prefect.blocks.core import Block
from pydantic import Field

from edge.clients.arc import ArcClient
from edge.clients.arc_connection import ArcConnection, ArcPatience
from edge.clients.azure_identity import default_credential
from edge.model.arc import ArcTarget, EgressCheck
from edge.model.site import Site
from edge.policy.arc_egress import DIAGNOSTICS_IMAGE
from edge.settings import Settings

Connection = TypeVar("Connection", bound=ArcConnection[Any])


class ArcSubscription(Block):
    """Azure Arc. Azure's own rules find the credential: workload or managed identity, environment, command line."""

    _block_type_name = "Edge Arc subscription"
    _block_type_slug = "edge-arc-subscription"

    subscription_id: str = Field(default="", description="Empty: sites are not connected to Azure Arc.")
    resource_group: str = Field(default="edge")
    location: str = Field(default="westeurope")
    endpoint: str = Field(default="https://management.azure.com", description="Azure Resource Manager.")
    ca_file: Path | None = Field(default=None, description="CA file for the endpoint, when it is not a public one.")

    key_bits: Literal[2048, 3072, 4096] = Field(
        default=4096,
        description="Size of the agents' RSA key. One of 4096 bits takes about 0.4 s of CPU, of 2048 bits 0.06 s.",
    )

    answer_s: float = Field(default=60.0, gt=0, le=600, description="How long Azure may be silent, in seconds.")
    operation_s: float = Field(
        default=1800.0, gt=0, le=7200, description="How long one operation of Azure may take, in seconds."
    )
    precheck_egress: EgressCheck = Field(
        default=EgressCheck.ON,
        description="Whether a Job on the cluster looks for its way out to Azure first; strict: it must have run.",
    )
    diagnostics_image: str = Field(
        default=DIAGNOSTICS_IMAGE, description="Image of that Job: a shell with `nslookup` and `nc`."
    )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The subscription that `EDGE_ARC_*` names."""
        return cls(
            subscription_id=settings.arc_subscription or "",
            resource_group=settings.arc_resource_group,
            location=settings.arc_location,
            endpoint=settings.arc_endpoint,
            ca_file=settings.arc_ca_file,
            key_bits=settings.arc_key_bits,
            answer_s=settings.arc_answer_s,
            operation_s=settings.arc_operation_s,
            precheck_egress=settings.arc_precheck_egress,
            diagnostics_image=settings.arc_diagnostics_image,
        )

    @property
    def used(self) -> bool:
        """Whether sites are connected to Azure Arc at all."""
        return bool(self.subscription_id)

    def target(self, site: Site) -> ArcTarget:
        """Where the site's connected cluster lives: where the site says, else where the subscription does."""
        return ArcTarget(
            subscription_id=self.subscription_id,
            resource_group=site.arc_resource_group or self.resource_group,
            name=site.name,
            location=site.arc_location or self.location,
        )

    def client(self) -> ArcClient:
        """A client for the subscription's connected clusters."""
        return self.connect(ArcClient)

    def connect(self, kind: type[Connection]) -> Connection:
        """A client of this kind for the subscription."""
        ca_file = str(self.ca_file) if self.ca_file else None
        credential = default_credential(ca_file)
        patience = ArcPatience(read_s=self.answer_s, operation_s=self.operation_s)
        return kind(self.endpoint, self.subscription_id, credential, ca_file=ca_file, patience=patience)
