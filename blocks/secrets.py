"""Where the secrets come from that a stamp's parameters refer to."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from prefect.blocks.core import Block
from pydantic import Field

from edge.clients.secret_folder import read_secret
from edge.settings import Settings


class SecretSource(Block):
    """A folder, mounted on every worker, with a file `<name>/<key>` for each secret, as Kubernetes mounts Secrets."""

    _block_type_name = "Edge secret source"
    _block_type_slug = "edge-secret-source"

    folder: Path = Field(description="Folder with one file `<name>/<key>` per secret.")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The folder that `EDGE_SECRETS` names."""
        return cls(folder=settings.secrets_folder)

    def value(self, reference: str) -> str:
        """The secret behind `<name>/<key>`. Raises NotFound without one, InvalidInput for what cannot be one."""
        return read_secret(self.folder, reference)
