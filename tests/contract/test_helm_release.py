"""Helm releases on lab sites that are in trouble, and what is never let through to Helm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.clients.helm_release import HelmRelease
from edge.errors import CredentialRejected, InvalidInput, SiteUnreachable
from edge.lab.azure.chart_archive import chart_archive

VALUES = {
    "global": {
        "subscriptionId": "s",
        "resourceGroupName": "g",
        "resourceName": "n",
        "location": "l",
        "onboardingPrivateKey": "-----BEGIN RSA PRIVATE KEY-----\nMIIsecret\n-----END RSA PRIVATE KEY-----",
    }
}


def release(lab: Any, name: str, **replaced: str) -> HelmRelease:
    text = Path(lab.site(name).kubeconfig).read_text()
    for old, new in replaced.items():
        text = text.replace(old, new)
    return HelmRelease(text, "azure-arc", "azure-arc-release")


def test_there_is_no_state_without_a_release(lab: Any) -> None:
    assert release(lab, "site-0002").state() == ""


def test_a_site_that_is_away_is_unreachable(lab: Any) -> None:
    lab.fault("site-0003", "offline")
    try:
        with pytest.raises(SiteUnreachable):
            release(lab, "site-0003").state(within_s=30)
    finally:
        lab.lift("site-0003")


def test_a_token_that_has_run_out_is_rejected(lab: Any) -> None:
    lab.fault("site-0003", "expired-token")
    try:
        with pytest.raises(CredentialRejected):
            release(lab, "site-0003").put(chart_archive(), VALUES, within_s=5)
    finally:
        lab.lift("site-0003")


def test_what_is_no_chart_is_refused(lab: Any) -> None:
    with pytest.raises(InvalidInput, match="chart"):
        release(lab, "site-0003").put(b"not a chart", VALUES, within_s=5)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"global": {**VALUES["global"], "location": ""}}, id="missing"),
        pytest.param({"global": VALUES["global"]["onboardingPrivateKey"]}, id="wrong type"),
    ],
)
def test_values_that_do_not_fit_are_refused_without_showing_the_key(lab: Any, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        release(lab, "site-0003").put(chart_archive(), values, within_s=5)
    assert "secret" not in str(caught.value)
    assert "secret" not in str(caught.value.__cause__)


def test_a_program_in_a_kubeconfig_never_reaches_helm() -> None:
    text = """
apiVersion: v1
kind: Config
current-context: a
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [/nowhere]}}}]
"""
    with pytest.raises(InvalidInput):
        HelmRelease(text, "azure-arc", "azure-arc-release")
