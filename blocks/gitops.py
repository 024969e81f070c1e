"""Where revisions are published for the sites that pull, and how Azure is asked to have them pulled."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.arc import ArcSubscription
from edge.clients.arc_flux import ArcFlux
from edge.clients.flux_source import RevisionStore
from edge.errors import InvalidInput
from edge.settings import Settings


class GitopsSource(Block):
    """A repository in an OCI registry. The platform pushes to it, and the sites pull from it."""

    _block_type_name = "Edge GitOps source"
    _block_type_slug = "edge-gitops-source"

    url: str = Field(default="", description="Repository, `oci://host/path`. Empty: nothing is delivered by GitOps.")
    ca_file: Path | None = Field(default=None, description="CA file for the host, when it is not a public one.")
    username: str = Field(default="", description="User at the registry who may push.")
    password: SecretStr = Field(default=SecretStr(""), description="That user's password or token.")
    pull_secret: str = Field(default="", description="Name of the Secret at each site with which it pulls.")
    interval_s: float = Field(default=300.0, ge=1, le=86400, description="How often a site looks, in seconds.")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The repository that `EDGE_GITOPS_*` names."""
        return cls(
            url=settings.gitops_url or "",
            ca_file=settings.gitops_ca_file,
            username=settings.gitops_username,
            password=settings.gitops_password,
            pull_secret=settings.gitops_pull_secret,
            interval_s=settings.gitops_interval_s,
        )

    @property
    def ca(self) -> str:
        """The PEM text of the host's own CA; "" when it has a public one."""
        return self.ca_file.read_text(encoding="ascii") if self.ca_file else ""

    def store(self) -> RevisionStore:
        """The repository, for publishing. Raises InvalidInput when none is set."""
        if not self.url:
            remedy = "Set EDGE_GITOPS_URL, or the block, to a repository in an OCI registry; or deliver direct"
            raise InvalidInput("There is no repository for revisions", remedy=remedy, field="url")
        login = (self.username, self.password.get_secret_value()) if self.username else None
        return RevisionStore(self.url, ca_file=str(self.ca_file) if self.ca_file else None, login=login)


def flux_client(subscription: ArcSubscription) -> ArcFlux:
    """A client for the Flux configurations of the subscription's clusters."""
    return subscription.connect(ArcFlux)
