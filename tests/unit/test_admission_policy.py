"""How much a device must prove, as an operator writes it."""

from __future__ import annotations

import pytest

from edge.errors import InvalidInput
from edge.policy.admission import parse_admission_policy


def test_a_policy_is_read_from_yaml() -> None:
    text = "apiVersion: edge-platform.io/v1\nkind: AdmissionPolicy\nproof: required\nrevocationList: required\n"
    policy = parse_admission_policy(text, origin="policy.yaml")
    assert (policy.proof, policy.revocation_list, policy.ownership) == ("required", "required", "when-present")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("proof: sometimes", "proof", id="unknown-word"),
        pytest.param("prof: required", "prof", id="unknown-field"),
        pytest.param("bootReferences: [{name: a, pcrs: {}}]", "bootReferences.0.pcrs", id="empty-reference"),
    ],
)
def test_a_policy_that_cannot_be_used_names_the_field(text: str, named: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_admission_policy(text, origin="policy.yaml")
    assert (refused.value.where["file"], refused.value.where["field"]) == ("policy.yaml", named)
