"""Settings from the environment (`EDGE_*`), read once by whoever starts: the command line, the gateway, the blocks.

Nothing below this file reads the environment. In a Prefect deployment the blocks hold these values instead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from edge.errors import InvalidInput
from edge.model.arc import EgressCheck
from edge.model.rule import Enforcement
from edge.policy.arc_egress import DIAGNOSTICS_IMAGE
from edge.policy.precache import RUNNER_IMAGE

PREFIX = "EDGE_"
_SECRET = ("ledger_url", "gateway_tokens", "gateway_hmac_keys", "mqtt_password", "gitops_password")


class Settings(BaseSettings):
    """Where the platform keeps things, and what it may use. Every field is `EDGE_` and its name in capitals.

    `home` defaults to `~/.edge`; what is None below is found in it, or is not used. Raises InvalidInput naming the
    variable of the environment that is wrong.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    home: Path = Field(default_factory=lambda: Path.home() / ".edge")
    ledger_url: SecretStr | None = None
    """SQLAlchemy URL. None: a SQLite file in `home`."""
    claim_s: float = Field(default=100.0, ge=1)
    """Seconds after which a run that does not renew its claims in the ledger is taken for dead."""
    credentials: Path | None = None
    """Folder with one kubeconfig per site, `<site>.kubeconfig`. None: `home/credentials`."""
    allow_exec: tuple[str, ...] = ()
    """Commands that a kubeconfig may run to get a credential."""
    stamps: Path | None = None
    """Folder in which stamps are looked up by name, before the shipped ones."""
    secrets: Path | None = None
    """Folder with the secrets that stamps refer to, one file `<name>/<key>` each. None: `home/secrets`."""
    registry_ca_file: Path | None = None
    """CA file for the registries that stamps and charts are read from; None: the public ones."""
    registry_auth: Path | None = None
    """Docker's file with the logins of registries. None: `config.json` in `DOCKER_CONFIG` or `~/.docker`."""
    trust: Path | None = None
    """PEM file with the manufacturers' CA certificates. None: no device can be onboarded."""
    voucher_trust: Path | None = None
    """PEM file with the CA certificates of those who sign ownership vouchers. None: no voucher is believed."""
    tpm_trust: Path | None = None
    """PEM file with the CA certificates of the makers of TPMs. None: no attestation is believed."""
    admission: Path | None = None
    """YAML file that says how much a device must prove. None: the defaults of `AdmissionPolicy`."""
    assignment: Path | None = None
    """YAML file with the rules that give a device its site. None: no device can be onboarded."""
    baseline: Path | None = None
    """YAML file with what every site gets before any stamp. None: the one that is shipped."""
    policies: Path | None = None
    """Folder with an operator's own policy rules, `*.yaml`, beside the shipped baseline. None: the baseline alone."""
    allowed_registries: tuple[str, ...] = ("ghcr.io/edge-platform",)
    """Registries, with a path, whose images need not be named by digest (a JSON list)."""
    policy: Enforcement = Enforcement.ENFORCE
    """Whether a breach of a rule keeps a stamp from a site, or is only told."""
    arc_subscription: str | None = None
    """Azure subscription id. None: sites are not connected to Azure Arc."""
    arc_resource_group: str = "edge"
    arc_location: str = "westeurope"
    arc_key_bits: Annotated[Literal[2048, 3072, 4096], BeforeValidator(int)] = 4096
    """Size of the agents' RSA key."""
    arc_endpoint: str = "https://management.azure.com"
    arc_ca_file: Path | None = None
    """CA file for the endpoint; None: the public ones."""
    arc_answer_s: float = Field(default=60.0, gt=0, le=600)
    """How long Azure may be silent before a request to it is given up, in seconds."""
    arc_operation_s: float = Field(default=1800.0, gt=0, le=7200)
    """How long one operation of Azure may take, in seconds."""
    arc_precheck_egress: EgressCheck = EgressCheck.ON
    """Whether a Job on the cluster looks for its way out to Azure before it is connected."""
    arc_diagnostics_image: str = DIAGNOSTICS_IMAGE
    """Image of that Job: a shell with `nslookup` and `nc`."""
    precache_image: str = RUNNER_IMAGE
    """Image with a static busybox at `/bin/busybox`, with which sites pull images ahead of a window."""
    gitops_url: str | None = None
    """Repository (`oci://host/path`) to which revisions are published for sites that pull. None: nothing is."""
    gitops_ca_file: Path | None = None
    """CA file for its host, given to the sites too; None: the public ones."""
    gitops_username: str = ""
    gitops_password: SecretStr = SecretStr("")
    """Password or token of somebody who may push there."""
    gitops_pull_secret: str = ""
    """Name of the Secret at each site with which it pulls. Empty: everybody may."""
    gitops_interval_s: float = Field(default=300.0, ge=1, le=86400)
    """Seconds after which a site looks again whether it is as the revision says."""
    gateway_tokens: tuple[SecretStr, ...] = ()
    """Bearer tokens that senders of events may use (a JSON list)."""
    gateway_rate: float | None = Field(default=None, gt=0)
    """Devices a second that the gateway passes on; None: as they come."""
    gateway_resend_after_s: float = Field(default=90.0, gt=0)
    """Seconds after which the gateway sends a batch again that no run has taken."""
    gateway_hmac_keys: tuple[SecretStr, ...] = ()
    """Keys that senders of events may sign with (a JSON list)."""
    mqtt_username: str = ""
    """User at the MQTT broker that registrations come from."""
    mqtt_password: SecretStr = SecretStr("")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False)[0]
            raise _wrong(str(fault["loc"][0]), fault["msg"]) from error
        except SettingsError as error:
            raise _wrong(_field_in(str(error)), "This setting must be JSON") from error

    @property
    def ledger(self) -> str:
        """The ledger's SQLAlchemy URL; it may hold a password."""
        if self.ledger_url is not None:
            return self.ledger_url.get_secret_value()
        return f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def stamp_folders(self) -> tuple[Path, ...]:
        """Where stamps are looked up by name: the folder that is set, then the shipped ones beside this package."""
        own = (self.stamps,) if self.stamps else ()
        return (*own, Path(__file__).parents[1] / "stamps")

    @property
    def registry_auth_file(self) -> Path:
        """Docker's file with the logins of registries; it may not be there."""
        folder = os.environ.get("DOCKER_CONFIG")
        return self.registry_auth or (Path(folder) if folder else Path.home() / ".docker") / "config.json"

    @property
    def secrets_folder(self) -> Path:
        """Folder with the secrets that stamps refer to."""
        return self.secrets or self.home / "secrets"

    @property
    def credentials_folder(self) -> Path:
        """Folder with one kubeconfig per site."""
        return self.credentials or self.home / "credentials"


def _wrong(field: str, what: str) -> InvalidInput:
    """The variable and what it holds, unless that may be a secret."""
    name = f"{PREFIX}{field}".upper()
    return InvalidInput(what, field=name, value=None if field in _SECRET else os.environ.get(name))


def _field_in(said: str) -> str:
    """The field that a message of pydantic-settings puts in quotes; its error has it nowhere else."""
    return said.partition('"')[2].partition('"')[0]
