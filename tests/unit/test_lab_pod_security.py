"""The Pod Security Standards as the lab checks them: what each level refuses, in a real server's words."""

from __future__ import annotations

from typing import Any

import pytest

from edge.lab.kube.pod_security import violations

STRICT = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {}, "spec": {"containers": [{"name": "main", "image": "app:1", **(container or {})}], **spec}}


def said(level: str, of: dict[str, Any]) -> str:
    return violations({"pod-security.kubernetes.io/enforce": level}, "enforce", of)


def context(**fields: Any) -> dict[str, Any]:
    return {"securityContext": fields}


BAD: list[Any] = [
    pytest.param(pod(hostNetwork=True, hostPID=True), "host namespaces (hostNetwork=true, hostPID=true)", id="host"),
    pytest.param(
        pod(context(privileged=True)),
        'privileged (container "main" must not set securityContext.privileged=true)',
        id="privileged",
    ),
    pytest.param(
        pod({"ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 81}]}),
        'hostPort (container "main" uses hostPorts 80, 81)',
        id="host-ports",
    ),
    pytest.param(
        pod(context(procMount="Unmasked")),
        'procMount (container "main" must not set securityContext.procMount to "Unmasked")',
        id="proc-mount",
    ),
    pytest.param(
        pod(securityContext={"seLinuxOptions": {"type": "spc_t"}}),
        "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions)",
        id="selinux-type",
    ),
    pytest.param(
        pod(context(seLinuxOptions={"user": "root"})),
        'seLinuxOptions (container "main" set forbidden securityContext.seLinuxOptions)',
        id="selinux-user",
    ),
    pytest.param(
        pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
        "forbidden sysctls (kernel.msgmax)",
        id="sysctl",
    ),
    pytest.param(
        pod(securityContext={"windowsOptions": {"hostProcess": True}}),
        "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        id="host-process",
    ),
    pytest.param(
        pod(context(appArmorProfile={"type": "Unconfined"})),
        'forbidden AppArmor profile (appArmorProfile.type="Unconfined")',
        id="apparmor",
    ),
]


@pytest.mark.parametrize(("bad", "words"), BAD)
def test_both_levels_refuse_it_and_privileged_does_not(bad: dict[str, Any], words: str) -> None:
    assert said("baseline", bad) == f'"baseline:latest": {words}'
    assert words in said("restricted", bad)
    assert said("privileged", bad) == ""


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        pytest.param(
            pod(context(capabilities={"add": ["SYS_ADMIN", "CHOWN"]})),
            'non-default capabilities (container "main" must not include "SYS_ADMIN" in '
            "securityContext.capabilities.add)",
            id="capabilities",
        ),
        pytest.param(
            pod(volumes=[{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "hostPath": {"path": "/"}}]),
            'hostPath volumes (volumes "a", "b")',
            id="host-paths",
        ),
        pytest.param(
            pod(
                context(seccompProfile={"type": "Unconfined"}),
                securityContext={"seccompProfile": {"type": "Unconfined"}},
            ),
            'seccompProfile (pod and container "main" must not set securityContext.seccompProfile.type to '
            '"Unconfined")',
            id="seccomp",
        ),
        pytest.param(
            pod(
                context(privileged=True),
                hostIPC=True,
                initContainers=[{"name": "first", "image": "a:1", "securityContext": {"privileged": True}}],
            ),
            'host namespaces (hostIPC=true), privileged (containers "first", "main" must not set '
            "securityContext.privileged=true)",
            id="several",
        ),
    ],
)
def test_the_level_baseline_refuses_it(bad: dict[str, Any], words: str) -> None:
    assert said("baseline", bad) == f'"baseline:latest": {words}'


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(pod(), id="plain"),
        pytest.param(pod(context(runAsUser=0)), id="root"),
        pytest.param(pod(context(capabilities={"add": ["NET_BIND_SERVICE", "CHOWN"]})), id="default-capabilities"),
        pytest.param(pod(volumes=[{"name": "v", "nfs": {"server": "a", "path": "/"}}]), id="network-volume"),
        pytest.param(
            pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}), id="sysctl"
        ),
        pytest.param(pod(securityContext={"seLinuxOptions": {"type": "container_t", "level": "s0"}}), id="selinux"),
    ],
)
def test_the_level_baseline_takes_it(good: dict[str, Any]) -> None:
    assert said("baseline", good) == ""


def test_a_plain_pod_is_refused_by_restricted_in_the_servers_order() -> None:
    """Every control that a pod fails that says nothing, in one sentence, as a server warns of it."""
    assert said("restricted", pod()) == (
        '"restricted:latest": allowPrivilegeEscalation != false (container "main" must set '
        'securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "main" must set '
        'securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "main" must set '
        'securityContext.runAsNonRoot=true), seccompProfile (pod or container "main" must set '
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )


@pytest.mark.parametrize(
    ("more", "spec", "words"),
    [
        pytest.param({"runAsUser": 0}, {}, 'runAsUser=0 (container "main" must not set runAsUser=0)', id="user-0"),
        pytest.param(
            {"runAsNonRoot": False},
            {},
            'runAsNonRoot != true (container "main" must not set securityContext.runAsNonRoot=false)',
            id="may-be-root",
        ),
        pytest.param(
            {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}},
            {},
            'unrestricted capabilities (container "main" must not include "CHOWN" in securityContext.capabilities.add)',
            id="capability",
        ),
        pytest.param(
            {},
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
            'restricted volume types (volume "v" uses restricted volume type "hostPath")',
            id="host-path",
        ),
    ],
)
def test_the_level_restricted_refuses_it(more: dict[str, Any], spec: dict[str, Any], words: str) -> None:
    assert said("restricted", pod(context(**{**STRICT, **more}), **spec)) == f'"restricted:latest": {words}'


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(pod(context(**STRICT)), id="container-says-all"),
        pytest.param(
            pod(
                context(allowPrivilegeEscalation=False, capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
                securityContext={
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "Localhost", "localhostProfile": "p"},
                },
                volumes=[{"name": "c", "configMap": {"name": "c"}}, {"name": "e"}],
            ),
            id="pod-says-the-rest",
        ),
        pytest.param(pod(context(runAsNonRoot=True), os={"name": "windows"}), id="windows"),
    ],
)
def test_the_level_restricted_takes_it(good: dict[str, Any]) -> None:
    assert said("restricted", good) == ""


def test_a_version_is_named_as_the_label_has_it() -> None:
    labels = {"pod-security.kubernetes.io/warn": "baseline", "pod-security.kubernetes.io/warn-version": "v1.30"}
    assert violations(labels, "warn", pod(hostIPC=True)).startswith('"baseline:v1.30": ')
    assert violations(labels, "enforce", pod(hostIPC=True)) == ""
