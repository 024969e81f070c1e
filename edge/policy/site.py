"""Which sites a piece of work is about."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from edge.errors import InvalidInput
from edge.model.site import Site, SiteSelector, SiteState

_FIELDS = ("tenant", "region", "role")
_LABEL = "labels."


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


def parse_selector(text: str) -> SiteSelector:
    """A selector as written on a command line: `all`, or terms with commas between them.

    A term is a site's name, `tenant=`, `region=` or `role=` with a value, or `labels.KEY=VALUE`. Raises InvalidInput.
    """
    if text.strip() in ("", "all"):
        return SiteSelector()
    names: list[str] = []
    labels: dict[str, str] = {}
    fields: dict[str, str] = {}
    for term in (part.strip() for part in text.split(",")):
        key, given, value = term.partition("=")
        if not given:
            names.append(key)
        elif key.startswith(_LABEL) and key.removeprefix(_LABEL) not in ("", *labels):
            labels[key.removeprefix(_LABEL)] = value
        elif key in _FIELDS and key not in fields and value:
            fields[key] = value
        else:
            raise InvalidInput("This is not a site selector", field="sites", value=term, remedy=_REMEDY)
    try:
        return SiteSelector.model_validate({"names": names, "labels": labels, **fields})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidInput(
            "This is not a site selector", field="sites", value=first["input"], remedy=_REMEDY
        ) from error


_REMEDY = "Use all, or names and tenant=T, region=R, role=R, labels.KEY=VALUE with commas between them"
