"""Names that appear in addresses, file names and Kubernetes objects, and the form each must have."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"

SiteName = Annotated[str, StringConstraints(pattern=_DNS_LABEL)]
"""A site: a DNS label (RFC 1123), since it becomes an Azure resource name and part of a URL."""

TenantName = Annotated[str, StringConstraints(pattern=_DNS_LABEL)]
"""A tenant: a DNS label, since it becomes part of a namespace's name."""

StampName = Annotated[str, StringConstraints(pattern=_DNS_LABEL)]
"""A stamp: a DNS label, since it is written into labels of the objects it creates."""

DeviceId = Annotated[str, StringConstraints(max_length=127, pattern=r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*$")]
"""A device: letters, digits, `-`, `_` and single dots, at most 127 characters; never a path."""

SemVer = Annotated[str, StringConstraints(pattern=r"^\d{1,9}\.\d{1,9}\.\d{1,9}(-[0-9A-Za-z.-]{1,64})?$")]
"""A semantic version without build metadata (semver.org 2.0.0)."""
