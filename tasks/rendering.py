"""What a stamp comes to on one site, whichever engine makes its objects: manifests, Kustomize or Helm.

An engine runs once for what it depends on, in the whole process: Kustomize for a stamp's content, since variables are
filled afterwards, and Helm for each set of values. What remains for a site is filling and checking.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import orjson

from edge.errors import EdgeError, InvalidInput
from edge.model.kube import KubeObject
from edge.model.site import Site
from edge.model.stamp import Component, ComponentKind, Stamp
from edge.policy.apply_order import in_order
from edge.policy.components import in_dependency_order
from edge.policy.manifests import Manifest, manifests_of
from edge.policy.parameters import site_parameters, values_for
from edge.policy.render import render_documents
from tasks.engines import helm_documents, kustomize_documents


class Secrets(Protocol):
    """Where the values of secret parameters come from, such as the block `SecretSource`."""

    def value(self, reference: str) -> str:
        """The secret behind `<name>/<key>`. Raises NotFound and InvalidInput."""


Made = tuple[tuple[str, dict[str, Any]], ...]
"""Objects, each with the name of the component it belongs to."""


class Renderer:
    """Renders one stamp, for any number of sites and from any thread.

    `given` are a rollout's parameters. Without `secrets` nothing can be rendered for applying that refers to one. With
    them every answer has looked the site's secrets up, so that a missing one is found before anything changes.
    """

    def __init__(self, stamp: Stamp, secrets: Secrets | None = None) -> None:
        self._stamp = stamp
        self._secrets = secrets

    @functools.cached_property
    def _written(self) -> Mapping[str, list[Manifest]]:
        """The manifests that are files, by component."""
        return {
            component.name: [found for found in manifests_of(self._stamp) if _is_of(component, found[0])]
            for component in self._stamp.components
            if component.kind is ComponentKind.MANIFESTS
        }

    def objects(self, site: Site, given: Mapping[str, str]) -> tuple[KubeObject, ...]:
        """The site's objects with the secrets in them, in the order in which they are applied. Only for applying.

        Raises InvalidInput naming the parameter, the component or the file, and NotFound naming secret and site.
        """
        return in_order([obj for _, obj in self._with_secrets(site, given)])

    def shown(self, site: Site, given: Mapping[str, str]) -> tuple[KubeObject, ...]:
        """The same with `<secret name/key>` in place of each secret: for plans, differences, rules and digests."""
        return in_order([obj for _, obj in self._without_secrets(site, given)])

    def stages(self, site: Site, given: Mapping[str, str]) -> tuple[tuple[KubeObject, ...], ...]:
        """What `objects` says, in groups: those of a component come in a later one than those it depends on."""
        made = self._with_secrets(site, given)
        stages = [
            in_order([obj for name, obj in made if name in {one.name for one in stage}])
            for stage in in_dependency_order(self._stamp.components)
        ]
        return tuple(stage for stage in stages if stage)

    def content(self, site: Site, given: Mapping[str, str]) -> str:
        """SHA-256 in hex of what `shown` says. A secret's own text has no part in it."""
        text = orjson.dumps(self.shown(site, given), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()

    def _without_secrets(self, site: Site, given: Mapping[str, str]) -> Made:
        with _named(site):
            values = values_for(self._stamp, site_parameters(site, given, self._stamp))
            self._looked_up(values)
            return self._made({**values, **{name: marker(values[name]) for name in self._secret_names(values)}})

    def _with_secrets(self, site: Site, given: Mapping[str, str]) -> Made:
        with _named(site):
            values = values_for(self._stamp, site_parameters(site, given, self._stamp))
            names = self._secret_names(values)
            if not names:
                return self._made(values)
            if self._secrets is None:
                remedy = "Set EDGE_SECRETS, or the secret source block, where this runs"
                raise InvalidInput("There is no secret source here", remedy=remedy, parameter=names[0])
            secrets = self._looked_up(values)
            try:
                return self._made({**values, **secrets})
            except EdgeError as error:
                # The cause is cut off: an engine's own text may quote the secret.
                raise _hidden(error, {secrets[name]: marker(values[name]) for name in names}) from None

    def _secret_names(self, values: Mapping[str, str]) -> list[str]:
        return [name for name, said in self._stamp.parameters.items() if said.secret and values.get(name)]

    def _looked_up(self, values: Mapping[str, str]) -> dict[str, str]:
        if self._secrets is None:
            return {}
        return {name: self._secrets.value(values[name]) for name in self._secret_names(values)}

    def _made(self, values: Mapping[str, str]) -> Made:
        documents = [
            (component.name, document)
            for component in self._stamp.components
            for document in self._documents(component, values)
        ]
        objects = render_documents(self._stamp, [document for _, document in documents], values)
        return tuple((name, obj) for (name, _), obj in zip(documents, objects, strict=True))

    def _documents(self, component: Component, values: Mapping[str, str]) -> Iterable[Manifest]:
        match component.kind:
            case ComponentKind.KUSTOMIZE:
                return kustomize_documents(self._stamp, component)
            case ComponentKind.HELM:
                return helm_documents(self._stamp, component, values)
        return self._written[component.name]


def marker(reference: str) -> str:
    """What stands for a secret wherever it is shown. In the `data` of a Secret it is encoded as the secret would be."""
    return f"<secret {reference}>"


@contextmanager
def _named(site: Site) -> Iterator[None]:
    """Errors say for which site it was."""
    try:
        yield
    except EdgeError as error:
        error.where.setdefault("site", site.name)
        raise


def _is_of(component: Component, file: str) -> bool:
    return file == component.path or file.startswith(f"{component.path}/")


def _hidden(error: EdgeError, hide: Mapping[str, str]) -> EdgeError:
    """The error without any secret in it, whatever it quotes."""
    for secret in sorted(hide, key=len, reverse=True):
        for said in {secret, secret[:100], repr(secret)[1:-1]}:
            error.what = error.what.replace(said, hide[secret])
            error.where = {word: text.replace(said, hide[secret]) for word, text in error.where.items()}
    error.args = (error.what,)
    return error
