"""GitOps delivery as pure decisions: what is published, what Flux is asked for, and what its report means.

Sites that differ only in their own values share one revision: those values leave the published text as variables, and
each site's Flux puts its own back. A value is taken out only where putting it back gives the same object again,
whatever quotes the YAML between has; where it may not, the text is published as it is and that site has a revision of
its own.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from edge.errors import InvalidInput
from edge.model.gitops import Bundle, FluxWish
from edge.model.kube import KubeObject, ObjectRef
from edge.model.site import Site
from edge.model.stamp import Stamp
from edge.policy.parameters import BUILT_IN
from edge.policy.yaml_text import plain_value

SOURCE_API = "source.toolkit.fluxcd.io/v1"
KUSTOMIZE_API = "kustomize.toolkit.fluxcd.io/v1"
WISH_LABEL = "edge-platform.io/gitops"

_PREFIX = "edge_"
_SAFE = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{2,252}")
_NAMED = re.compile(r"\$\{([_a-zA-Z][_a-zA-Z0-9]*)")
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def check_without_secrets(objects: Sequence[KubeObject], shown: Sequence[KubeObject]) -> None:
    """Secrets are never published. `shown` are the same objects, in any order, with a marker for each secret.

    Raises InvalidInput naming the first object that holds one.
    """
    known = {ObjectRef.of(one): one for one in shown}
    held = [ObjectRef.of(one) for one in objects if known.get(ObjectRef.of(one)) != one]
    held += [
        ObjectRef.of(one) for one in shown if one["kind"] == "Secret" and (one.get("data") or one.get("stringData"))
    ]
    if held:
        raise InvalidInput(
            "This stamp puts a secret into an object, and secrets are never published",
            remedy="Deliver it with `delivery: direct`, or let the site get the secret from its own store",
            object=held[0],
        )


def own_values(site: Site, stamp: Stamp) -> dict[str, str]:
    """The values in which this site may differ from others, by the names of the parameters that the stamp uses."""
    builtin = dict(zip(BUILT_IN, (site.name, site.region, site.tenant, site.role), strict=True))
    given = stamp.values
    layers = (given.regions.get(site.region), given.tenants.get(site.tenant), given.sites.get(site.name))
    values = {**builtin, **{name: value for layer in layers for name, value in (layer or {}).items()}}
    used = _names_used(stamp)
    return {name: value for name, value in values.items() if name in used}


def _names_used(stamp: Stamp) -> frozenset[str]:
    """Names that stand in a `${...}` anywhere in the stamp."""
    values = [text for component in stamp.components for text in _strings(component.values)]
    texts = (*stamp.manifests.values(), *stamp.files.values(), *values)
    return frozenset(name for text in texts for name in _NAMED.findall(text))


def bundle(stages: Sequence[Sequence[KubeObject]], own: Mapping[str, str]) -> Bundle:
    """What is published of a site's rendered objects, and the variables that give them back.

    `own` are the values in which sites differ (name -> text), such as the name of the site. No stage may be empty.
    """
    texts = [value for obj in _flat(stages) for value in _strings(obj)]
    usable = {} if any("${" in text for text in texts) else _usable(own)
    used: set[str] = set()
    files = {}
    names = tuple(f"s{number}" for number in range(1, len(stages) + 1))
    for name, objects in zip(names, stages, strict=True):
        general = [_general(obj, usable, used) for obj in objects]
        files[f"{name}/objects.yaml"] = yaml.dump_all(
            general, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=10**6, explicit_start=True
        )
    variables = {_PREFIX + word: own[word] for word in sorted(used)}
    return Bundle(files=files, stages=names, variables=variables)


def _usable(own: Mapping[str, str]) -> dict[str, str]:
    """Value -> name, the longest first. A value must read as text wherever it stands in a YAML scalar."""
    fit = [(value, name) for name, value in sorted(own.items()) if _SAFE.fullmatch(value) and _stays_text(value)]
    return dict(sorted(fit, key=lambda pair: -len(pair[0])))


def _flat(stages: Sequence[Sequence[KubeObject]]) -> list[KubeObject]:
    return [obj for objects in stages for obj in objects]


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, one in value.items() for text in (*_strings(key), *_strings(one))]
    return [text for one in value for text in _strings(one)] if isinstance(value, list | tuple) else []


def _general(value: Any, usable: Mapping[str, str], used: set[str]) -> Any:
    """The value with its texts generalized; keys stay as they are."""
    if isinstance(value, Mapping):
        return {key: _general(one, usable, used) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_general(one, usable, used) for one in value]
    return _text(value, usable, used) if isinstance(value, str) and usable else value


def _text(text: str, usable: Mapping[str, str], used: set[str]) -> str:
    if not any(value in text for value in usable):
        return text
    words = "|".join(re.escape(value) for value in usable)
    found: set[str] = set()

    def variable(match: re.Match[str]) -> str:
        found.add(usable[match[0]])
        return f"${{{_PREFIX}{usable[match[0]]}}}"

    general = re.sub(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", variable, text)
    if not _stays_text(text):
        return text  # it needs its quotes, and Flux's YAML in between may not keep them
    used |= found
    return general


def _stays_text(text: str) -> bool:
    """Whether a scalar without quotes would still be this text."""
    try:
        return "\n" in text or plain_value(text) == text
    except ValueError:
        return False


# What Flux is asked for


def flux_objects(wish: FluxWish) -> tuple[dict[str, Any], ...]:
    """The objects with which Flux pulls a revision, for a site without Azure Arc: namespace, source, stages."""
    labels = {WISH_LABEL: wish.name}
    meta = {"namespace": wish.namespace, "labels": labels}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": wish.namespace}}
    spec = {
        "url": wish.revision.url,
        "interval": _go(wish.interval_s),
        "ref": {"digest": wish.revision.digest},
        **({"secretRef": {"name": wish.pull_secret}} if wish.pull_secret else {}),
        **({"certSecretRef": {"name": f"{wish.name}-ca"}} if wish.ca else {}),
    }
    source = {"apiVersion": SOURCE_API, "kind": "OCIRepository", "metadata": {"name": wish.name, **meta}, "spec": spec}
    return (namespace, *_ca_secret(wish, meta), source, *_kustomizations(wish, meta))


def _ca_secret(wish: FluxWish, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not wish.ca:
        return []
    named = {"name": f"{wish.name}-ca", **meta}
    return [{"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": {"ca.crt": wish.ca}}]


def _kustomizations(wish: FluxWish, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    made = []
    for index, (stage, name) in enumerate(zip(wish.stages, wish.parts, strict=True)):
        spec = {
            "sourceRef": {"kind": "OCIRepository", "name": wish.name},
            "path": f"./{stage}",
            "interval": _go(wish.interval_s),
            "retryInterval": _go(wish.retry_s),
            "timeout": _go(wish.timeout_s),
            "prune": wish.prune,
            "wait": True,
            **({"dependsOn": [{"name": wish.parts[index - 1]}]} if index else {}),
            **({"postBuild": {"substitute": wish.variables}} if wish.variables else {}),
        }
        named = {"name": name, **meta}
        made.append({"apiVersion": KUSTOMIZE_API, "kind": "Kustomization", "metadata": named, "spec": spec})
    return made


def _go(seconds: float) -> str:
    return f"{max(1, round(seconds))}s"


def arc_properties(wish: FluxWish) -> dict[str, Any]:
    """The same as properties of a fluxConfiguration, in Azure's own form, for a site with Azure Arc."""
    source: dict[str, Any] = {
        "url": wish.revision.url,
        "syncIntervalInSeconds": max(1, round(wish.interval_s)),
        "repositoryRef": {"digest": wish.revision.digest},
    }
    if wish.ca:
        source["tlsConfig"] = {"caCertificate": base64.b64encode(wish.ca.encode()).decode()}
    if wish.pull_secret:
        source["localAuthRef"] = wish.pull_secret
    parts = {
        stage: {
            "path": f"./{stage}",
            "dependsOn": [wish.stages[index - 1]] if index else [],
            "syncIntervalInSeconds": max(1, round(wish.interval_s)),
            "retryIntervalInSeconds": max(1, round(wish.retry_s)),
            "timeoutInSeconds": max(1, round(wish.timeout_s)),
            "prune": wish.prune,
            "wait": True,
            **({"postBuild": {"substitute": wish.variables}} if wish.variables else {}),
        }
        for index, stage in enumerate(wish.stages)
    }
    return {
        "scope": "cluster",
        "namespace": wish.namespace,
        "sourceKind": "OCIRepository",
        "suspend": False,
        "ociRepository": source,
        "kustomizations": parts,
    }
