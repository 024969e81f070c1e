"""Settings from the environment (`EDGE_*`), read once by whoever starts: the command line, the gateway, the blocks.

Nothing below this file reads the environment. In a Prefect deployment the blocks hold these values instead.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where the platform keeps things. `home` defaults to `~/.edge`; every path below it can be set on its own."""

    model_config = SettingsConfigDict(env_prefix="EDGE_", extra="ignore", frozen=True)

    home: Path = Field(default_factory=lambda: Path.home() / ".edge")
    ledger_url: SecretStr | None = None
    """SQLAlchemy URL. None: a SQLite file in `home`."""
    credentials: Path | None = None
    """Folder with one kubeconfig per site, `<site>.kubeconfig`. None: `home/credentials`."""
    stamps: Path | None = None
    """Folder in which stamps are looked up by name, before the shipped ones."""

    @property
    def ledger(self) -> str:
        """The ledger's SQLAlchemy URL; it may hold a password."""
        if self.ledger_url is not None:
            return self.ledger_url.get_secret_value()
        return f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def credentials_folder(self) -> Path:
        """Folder with one kubeconfig per site."""
        return self.credentials or self.home / "credentials"
