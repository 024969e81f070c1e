"""What the API server's own controllers do after a change: namespaces, garbage, CRDs, quota figures.

Real clusters do this in kube-controller-manager some milliseconds later; here it happens right after the commit.
Workload controllers are not here: they are the lab's stages.
"""

from __future__ import annotations

from edge.lab.kube import quota
from edge.lab.kube.deletion import CRD_FINALIZER, collect, delete, instances, is_deleting, release
from edge.lab.kube.resources import CRDS, NAMESPACES, builtin
from edge.lab.kube.store import Event, SiteStore

ROOT_CA = "kube-root-ca.crt"


class Lifecycle:
    """Follows one store. Create it once per store, before anything is written."""

    def __init__(self, store: SiteStore) -> None:
        self.store = store
        store.subscribe(self._follow)

    def _follow(self, event: Event) -> None:
        if event.resource.key == NAMESPACES:
            self._namespace(event)
        if event.type == "DELETED":
            self._gone(event)
        elif event.type == "ADDED" and event.obj["metadata"].get("ownerReferences"):
            self._orphaned_at_birth(event)
        quota.refresh(self.store, event)

    def _namespace(self, event: Event) -> None:
        name = event.obj["metadata"]["name"]
        if event.type == "ADDED":
            furnish(self.store, name)
        elif event.type == "MODIFIED" and is_deleting(event.obj):
            if not (event.old and is_deleting(event.old)):
                for resource, obj in self.store.in_namespace(name):
                    if not is_deleting(obj) and self.store.get(resource, name, obj["metadata"]["name"]) is not None:
                        delete(self.store, resource, obj)
            self._finish_namespace(name)

    def _gone(self, event: Event) -> None:
        meta = event.obj["metadata"]
        collect(self.store, meta["uid"])
        for owner in meta.get("ownerReferences") or ():
            release(self.store, owner["uid"])
        if meta.get("namespace"):
            self._finish_namespace(meta["namespace"])
        if event.resource.custom:
            self._finish_crd(event)

    def _finish_namespace(self, name: str) -> None:
        resource = builtin("namespaces")
        namespace = self.store.get(resource, "", name)
        if namespace is None or not is_deleting(namespace) or any(self.store.in_namespace(name)):
            return
        if "kubernetes" in (namespace.get("spec") or {}).get("finalizers", ()):
            left = [one for one in namespace["spec"]["finalizers"] if one != "kubernetes"]
            self.store.replace(resource, {**namespace, "spec": {**namespace["spec"], "finalizers": left}})

    def _finish_crd(self, event: Event) -> None:
        resource = builtin(CRDS[1], CRDS[0])
        crd = self.store.get(resource, "", event.resource.qualified)
        if crd is None or not is_deleting(crd) or instances(self.store, crd):
            return
        left = [one for one in crd["metadata"].get("finalizers") or () if one != CRD_FINALIZER]
        self.store.replace(resource, {**crd, "metadata": {**crd["metadata"], "finalizers": left}})

    def _orphaned_at_birth(self, event: Event) -> None:
        """Garbage collection takes an object none of whose owners exists."""
        meta = event.obj["metadata"]
        if any(self.store.by_uid(owner["uid"]) for owner in meta["ownerReferences"]):
            return
        current = self.store.by_uid(meta["uid"])
        if current and not is_deleting(current[1]):
            delete(self.store, *current)


def furnish(store: SiteStore, namespace: str) -> None:
    """Give a namespace the service account and the CA certificate every namespace has."""
    accounts, config = builtin("serviceaccounts"), builtin("configmaps")
    if store.get(accounts, namespace, "default") is None:
        meta = {"name": "default", "namespace": namespace}
        store.create(accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    source = store.get(config, "kube-system", ROOT_CA)
    if source is not None and store.get(config, namespace, ROOT_CA) is None:
        meta = {"name": ROOT_CA, "namespace": namespace}
        store.create(config, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": source["data"]})
