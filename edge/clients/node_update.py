"""The definition of NodeUpdate, which the platform brings to every site whose devices it updates."""

from __future__ import annotations

from importlib.resources import files
from typing import cast

from edge.model.kube import KubeObject
from edge.policy.yaml_text import parse_yaml


def node_update_definition() -> KubeObject:
    """The shipped CustomResourceDefinition."""
    shipped = files("edge.clients").joinpath("data", "node-update.yaml").read_text(encoding="utf-8")
    return cast(KubeObject, parse_yaml(shipped, origin="node-update.yaml"))
