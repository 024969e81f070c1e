"""`edge site`: the sites that the platform knows. A site needs only a kubeconfig."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from edge.cli import site_expiring, site_holds
from edge.cli.context import open_ledger, site_credentials
from edge.cli.output import JsonFlag, emit, speaks, table
from edge.clients.access import SiteAccess, flatten
from edge.clients.kubeconfig import read_kubeconfig
from edge.errors import InvalidInput, SiteSilent, SiteUnreachable
from edge.model.site import OfflinePolicy, Site, SiteState

app = typer.Typer()
app.command("expiring")(site_expiring.expiring)
app.command("hold")(site_holds.hold)
app.command("release")(site_holds.release)
app.command("holds")(site_holds.holds)

COLUMNS = ("site", "tenant", "region", "role", "state", "when offline", "arc")


def pairs(given: list[str], field: str) -> dict[str, str]:
    """`["a=1", "b=2"]` as a mapping. Raises InvalidInput when one has no `=` or a key comes twice."""
    found: dict[str, str] = {}
    for pair in given:
        key, sign, value = pair.partition("=")
        if not sign or not key or key in found:
            raise InvalidInput("Not a KEY=VALUE, or the key twice", field=field, value=pair)
        found[key] = value
    return found


@app.command("import")
@speaks
def import_site(
    name: Annotated[str, typer.Argument(help="The site's name: a DNS label.")],
    kubeconfig: Annotated[Path, typer.Option(help="The kubeconfig to take the credential from.")],
    context: Annotated[str | None, typer.Option(help="Context in it; default: the current one.")] = None,
    tenant: Annotated[str, typer.Option(help="Who owns it.")] = "default",
    region: Annotated[str, typer.Option(help="Where it is.")] = "unknown",
    role: Annotated[str, typer.Option(help="What it is for.")] = "edge",
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; may be given several times.")] = None,
    when_offline: Annotated[OfflinePolicy, typer.Option(help="What it means when it is away.")] = OfflinePolicy.NORMAL,
    time_zone: Annotated[str, typer.Option(help="Its time zone.")] = "UTC",
    allow_exec: Annotated[list[str] | None, typer.Option(help="A command its kubeconfig may run to log in.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a site known by a kubeconfig; Azure Arc is not needed.

    The credential is copied, with the files it names, to the credentials folder, where only its owner can read it. A
    site that does not answer is refused, unless it is expected to be offline.
    """
    site = Site(
        name=name,
        tenant=tenant,
        region=region,
        role=role,
        labels=pairs(label or [], "--label"),
        when_offline=when_offline,
        time_zone=_zone(time_zone),
    )
    access = read_kubeconfig(kubeconfig, context=context, allow_exec=tuple(allow_exec or ()))
    site = site.model_copy(update={"state": _state(site, access)})
    with open_ledger() as ledger:
        kept = ledger.sites.put(site)
        site_credentials().keep(name, flatten(access))
    _print([kept], as_json=as_json)


def _zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        remedy = "Give a name of the IANA database, such as Europe/Berlin"
        raise InvalidInput("There is no such time zone", remedy=remedy, field="--time-zone", value=name) from error


def _state(site: Site, access: SiteAccess) -> SiteState:
    """Connected when it answers. Raises what the client raises unless the site may be away."""
    from edge.clients.kubernetes import SiteClient  # noqa: PLC0415 - Kubernetes' client takes long to import

    try:
        with SiteClient(access) as client:
            client.version()
    except (SiteUnreachable, SiteSilent):
        if site.when_offline is not OfflinePolicy.EXPECTED:
            raise
        return SiteState.KNOWN
    return SiteState.CONNECTED


@app.command("list")
@speaks
def list_sites(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    region: Annotated[str | None, typer.Option(help="Only those in this region.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only those with KEY=VALUE.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List sites."""
    with open_ledger() as ledger:
        found = ledger.sites.list(tenant=tenant, region=region, labels=pairs(label or [], "--label"))
    _print(found, as_json=as_json)


@app.command("show")
@speaks
def show_site(
    name: Annotated[str, typer.Argument(help="The site's name.")],
    as_json: JsonFlag = False,
) -> None:
    """Show one site with everything that is known of it."""
    with open_ledger() as ledger:
        site = ledger.sites.get(name)
    rows = [(field, _text(value)) for field, value in site.model_dump(mode="json").items()]
    emit(site.model_dump(mode="json"), table(name, ("field", "value"), rows), as_json=as_json)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={held}" for key, held in value.items())
    return "" if value is None else str(value)


def _print(sites: Sequence[Site], *, as_json: bool) -> None:
    rows = [
        (site.name, site.tenant, site.region, site.role, site.state, site.when_offline, site.arc_id or "no")
        for site in sites
    ]
    emit([site.model_dump(mode="json") for site in sites], table("Sites", COLUMNS, rows), as_json=as_json)
