"""What a stamp of plain manifests comes to, made as a rollout makes it but for its secrets and components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.model.stamp import Stamp
from edge.policy.apply_order import in_order
from edge.policy.manifests import manifests_of
from edge.policy.parameters import values_for
from edge.policy.render import render_documents


def render(stamp: Stamp, parameters: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
    """The objects in the order in which they are applied; `parameters` holds the site's own values as well."""
    return in_order(render_documents(stamp, manifests_of(stamp), values_for(stamp, parameters)))
