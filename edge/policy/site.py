"""Which sites a piece of work is about."""

from __future__ import annotations

from collections.abc import Sequence

from edge.errors import InvalidInput
from edge.model.site import Site, SiteSelector, SiteState

_FIELDS = ("tenant", "region", "role")


def select_sites(sites: Sequence[Site], selector: SiteSelector) -> tuple[Site, ...]:
    """The sites that match, in order of their names; decommissioned ones never do.

    Raises InvalidInput when a name is none of a living site: a typing mistake must not shrink a cohort in silence.
    """
    living = {site.name: site for site in sites if site.state is not SiteState.DECOMMISSIONED}
    unknown = [name for name in selector.names if name not in living]
    if unknown:
        raise InvalidInput("No such site", field="sites.names", value=", ".join(unknown))
    return tuple(living[name] for name in sorted(living) if _matches(living[name], selector))


def _matches(site: Site, selector: SiteSelector) -> bool:
    return (
        (not selector.names or site.name in selector.names)
        and all(getattr(selector, field) in (None, getattr(site, field)) for field in _FIELDS)
        and all(site.labels.get(key) == value for key, value in selector.labels.items())
    )
