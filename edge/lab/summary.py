"""What a running lab says of itself: the JSON of `edge lab up --json`, and a kubeconfig per site."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

import orjson

from edge.lab.flux.registry import USER
from edge.lab.layout import Layout
from edge.lab.persistence import put
from edge.lab.sites import LabSite
from edge.lab.weather import FaultKind
from edge.lab.world import World


def summary(world: World, layout: Layout, url: str, azure: dict[str, Any]) -> dict[str, Any]:
    """Where everything is. `azure` is what the pretend Azure says of itself; it holds a secret."""
    return {
        "state": str(layout.state),
        "pid": os.getpid(),
        "url": url,
        "ca_file": str(layout.ca_file),
        "admin_token_file": str(layout.admin_token),
        "scenario": world.scenario.name,
        "azure": azure,
        "gitops": _gitops(layout, url),
        "manufacturer": {
            "ca_file": str(layout.manufacturer.with_suffix(".crt")),
            "devices": str(layout.devices),
            "crl_file": str(layout.revocations),
            "vouchers": str(layout.vouchers),
            "voucher_ca_file": str(layout.voucher_authority.with_suffix(".crt")),
            "tpm_ca_file": str(layout.tpm_authority.with_suffix(".crt")),
        },
        "kubeconfigs": str(layout.kubeconfigs),
        "sites": [_line(site, layout) for site in world],
    }


def _gitops(layout: Layout, url: str) -> dict[str, str]:
    """Where revisions are published, and from where the sites pull them."""
    return {
        "url": f"oci://{url.partition('://')[2]}/revisions",
        "ca_file": str(layout.ca_file),
        "username": USER,
        "password_file": str(layout.registry_password),
    }


def _line(site: LabSite, layout: Layout) -> dict[str, Any]:
    return {
        "name": site.name,
        "region": site.region,
        "kubeconfig": str(layout.kubeconfig(site.name)),
        "device_id": site.device_id,
        "serial": site.serial,
        "offline": site.suffers(FaultKind.OFFLINE),
    }


def write_kubeconfigs(world: World, layout: Layout, url_of: Callable[[LabSite], str]) -> None:
    """Write one kubeconfig per site, mode 0600. Those of sites that an earlier lab had more than this one go."""
    layout.kubeconfigs.mkdir(parents=True, exist_ok=True)
    for file in set(layout.kubeconfigs.glob("*.kubeconfig")) - {layout.kubeconfig(site.name) for site in world}:
        file.unlink()
    ca = base64.b64encode(layout.ca_file.read_bytes()).decode()
    for site in world:
        text = _kubeconfig(site.name, url_of(site), ca, world.token(site.name))
        put(layout.kubeconfig(site.name), text)


def _kubeconfig(name: str, url: str, ca: str, token: str) -> bytes:
    """JSON is YAML too, and a thousand of them take no time."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": ca}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return orjson.dumps(config, option=orjson.OPT_INDENT_2)
