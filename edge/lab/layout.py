"""Where a lab keeps what: the names of the files in its state folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import InvalidInput
from edge.model.base import Value


class LabConfig(Value):
    """What a lab is started with. `port` 0: the one it had before, else any free one."""

    state: Path
    sites: int
    scenario: str = "none"
    port: int = 0
    clock_rate: float = 1.0


@contextmanager
def usable(layout: Layout) -> Iterator[None]:
    """Around the first writes into the state folder. Raises InvalidInput when it cannot be made or written to."""
    try:
        yield
    except OSError as error:
        what, remedy = "the state folder cannot be used", "Give another --state"
        raise InvalidInput(what, state=layout.state, reason=error.strerror, remedy=remedy) from error


class Layout:
    """The state folder of one lab."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.lock = state / "lab.lock"
        self.pid = state / "lab.pid"
        self.summary = state / "lab.json"
        self.log = state / "lab.log"
        self.port = state / "port"
        self.clock = state / "clock.json"
        self.secret = state / "secret"
        self.admin_token = state / "admin.token"
        self.ca = state / "ca"
        self.server = state / "server"
        self.manufacturer = state / "manufacturer" / "ca"
        self.devices = state / "manufacturer" / "devices"
        self.revocations = state / "manufacturer" / "ca.crl"
        self.vouchers = state / "manufacturer" / "vouchers"
        self.voucher_authority = state / "manufacturer" / "voucher-ca"
        self.tpm_authority = state / "manufacturer" / "tpm-ca"
        self.kubeconfigs = state / "kubeconfigs"
        self.objects = state / "objects"
        self.azure = state / "azure"
        self.artifacts = state / "artifacts"
        self.registry_password = state / "registry.password"

    @property
    def ca_file(self) -> Path:
        """The CA certificate that clients must trust."""
        return self.ca.with_suffix(".crt")

    def kubeconfig(self, site: str) -> Path:
        """One site's kubeconfig."""
        return self.kubeconfigs / f"{site}.kubeconfig"
