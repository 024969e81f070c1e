"""Where the credentials of sites come from."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from prefect.blocks.core import Block
from pydantic import Field, PrivateAttr

from edge.clients.kube_discovery import DiscoveryCache
from edge.clients.kubeconfig import read_kubeconfig
from edge.clients.kubernetes import SiteClient
from edge.errors import NotFound
from edge.settings import Settings


class SiteCredentials(Block):
    """A folder, mounted on every worker, with one kubeconfig per site: `<site>.kubeconfig`."""

    _block_type_name = "Edge site credentials"
    _block_type_slug = "edge-site-credentials"

    folder: Path = Field(description="Folder with one kubeconfig per site.")
    allow_exec: tuple[str, ...] = Field(default=(), description="Commands that a kubeconfig may run to log in.")
    _cache: DiscoveryCache = PrivateAttr(default_factory=DiscoveryCache)
    """What alike sites serve; one for all clients of this block, so that a site need not be asked."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The folder that `EDGE_CREDENTIALS` names."""
        return cls(folder=settings.credentials_folder, allow_exec=settings.allow_exec)

    def file(self, site: str) -> Path:
        """Where the site's kubeconfig is, or would be."""
        return self.folder / f"{site}.kubeconfig"

    def keep(self, site: str, kubeconfig: str) -> None:
        """Store a site's kubeconfig, in one step, readable by its owner only."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.file(site).with_suffix(".draft")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(kubeconfig)
        draft.replace(self.file(site))

    def forget(self, site: str) -> bool:
        """Give up a site's kubeconfig; whether there was one."""
        self.file(site).with_suffix(".draft").unlink(missing_ok=True)
        known = self.file(site).exists()
        self.file(site).unlink(missing_ok=True)
        return known

    def client(self, site: str) -> SiteClient:
        """A client for the site. Raises NotFound without a kubeconfig, InvalidInput with an unusable one."""
        access = read_kubeconfig(self._existing(site), allow_exec=self.allow_exec)
        return SiteClient(access, site=site, cache=self._cache)

    def text(self, site: str) -> str:
        """The site's kubeconfig itself, for programs that take one; it holds a secret. Raises NotFound without one."""
        return self._existing(site).read_text()

    def _existing(self, site: str) -> Path:
        file = self.file(site)
        if not file.is_file():
            remedy = "Import the site, or put its kubeconfig there"
            raise NotFound("No credential for this site", remedy=remedy, site=site, file=file)
        return file
