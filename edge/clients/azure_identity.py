"""Who we are to Azure: the credential is found by Azure's own rules, and never stored by us."""

from __future__ import annotations

from azure.core.credentials import TokenCredential
from azure.identity import DefaultAzureCredential


def default_credential(ca_file: str | None = None) -> TokenCredential:
    """The credential that Azure's rules find: environment, workload identity, managed identity, command line.

    `ca_file` is for an Azure whose addresses have a private CA (a lab, an air-gapped cloud). It is then the only one
    trusted for token requests. Nothing is asked of Azure before the first token is needed; azure-identity retries these
    requests itself, a few times.
    """
    if ca_file is None:
        return DefaultAzureCredential()
    return DefaultAzureCredential(connection_verify=ca_file)
