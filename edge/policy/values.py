"""Values that a stamp sets for some sites: which one wins, and that each fits before anything is rendered.

What is given with an order goes before the site's value, that before its tenant's, that before its region's, and that
before the default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edge.errors import InvalidInput
from edge.model.site import Site
from edge.model.stamp import ParameterValues

Levels = tuple[tuple[str, str, Mapping[str, Mapping[str, str]]], ...]
"""Word in stamp.yaml, word in errors, and name -> parameter -> value; the level that wins comes last."""


def levels_of(values: ParameterValues) -> Levels:
    """The levels in the order in which a later one wins."""
    return (
        ("regions", "region", values.regions),
        ("tenants", "tenant", values.tenants),
        ("sites", "site", values.sites),
    )


def values_of_site(values: ParameterValues, site: Site) -> dict[str, str]:
    """Parameter -> the value that the stamp sets for this site, by region, tenant or name."""
    return {
        **values.regions.get(site.region, {}),
        **values.tenants.get(site.tenant, {}),
        **values.sites.get(site.name, {}),
    }


def each_value(values: ParameterValues, *, file: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Parameter, value, and where it stands, for errors."""
    for level, word, named in levels_of(values):
        for name, given in named.items():
            for parameter, value in given.items():
                where = {"file": file, "field": f"spec.values.{level}.{name}.{parameter}", word: name}
                yield parameter, value, where


def refuse_unknown(parameter: str, known: Mapping[str, object], where: Mapping[str, str]) -> None:
    """Raises InvalidInput for a value that no parameter takes."""
    if parameter not in known:
        names = ", ".join(sorted(known)) or "none"
        raise InvalidInput("The stamp has no such parameter", parameter=parameter, known=names, **where)
