"""What commands work with: the ledger and the credentials that the server, or else the environment, names."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blocks.admission import DeviceAdmission
    from blocks.credentials import SiteCredentials
    from blocks.policies import PolicyRules
    from blocks.secrets import SecretSource
    from edge.ledger import Ledger


def has_server() -> bool:
    """Whether a Prefect server is configured, in the environment or the active profile."""
    from prefect.settings import get_current_settings  # noqa: PLC0415 - Prefect takes a second to import

    return get_current_settings().api.url is not None


def open_ledger() -> Ledger:
    """The ledger: of the block `default` with a server at `PREFECT_API_URL`, else of `EDGE_LEDGER_URL`."""
    # Prefect sends an event when a block is read, and warns while a command that ends waits for it to be gone.
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)
    from blocks.ledger import EdgeLedger  # noqa: PLC0415 - Prefect takes a second to import
    from blocks.load import load  # noqa: PLC0415 - as above

    return load(EdgeLedger, "default").client()


def device_admission() -> DeviceAdmission:
    """Whom the platform trusts and how much a device must prove, found as the ledger is."""
    from blocks.admission import DeviceAdmission  # noqa: PLC0415 - Prefect takes a second to import
    from blocks.load import load  # noqa: PLC0415 - as above

    return load(DeviceAdmission, "default")


def site_credentials() -> SiteCredentials:
    """The site credentials source, found as the ledger is."""
    from blocks.credentials import SiteCredentials  # noqa: PLC0415 - Prefect takes a second to import
    from blocks.load import load  # noqa: PLC0415 - as above

    return load(SiteCredentials, "default")


def policy_rules() -> PolicyRules:
    """What rendered objects must keep to, found as the ledger is."""
    from blocks.load import load  # noqa: PLC0415 - Prefect takes a second to import
    from blocks.policies import PolicyRules  # noqa: PLC0415 - as above

    return load(PolicyRules, "default")


def secret_source() -> SecretSource:
    """Where secrets come from, found as the ledger is."""
    from blocks.load import load  # noqa: PLC0415 - Prefect takes a second to import
    from blocks.secrets import SecretSource  # noqa: PLC0415 - as above

    return load(SecretSource, "default")
