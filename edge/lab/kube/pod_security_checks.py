"""The Pod Security Standards: what a pod may not ask for, at the levels baseline and restricted.

Each check answers nothing, or the reason with its detail in the words of a real server (the built-in PodSecurity
admission plugin). Checks stand in the order in which a real server reports them. All follow the newest version of the
standards, whatever version a namespace names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

Pod = Mapping[str, Any]
"""A pod, or a pod template: `metadata` and `spec`."""
Check = Callable[[Pod], str]

_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
_SELINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)


def _spec(pod: Pod) -> Mapping[str, Any]:
    return pod.get("spec") or {}


def _containers(pod: Pod) -> Iterator[Mapping[str, Any]]:
    for word in ("initContainers", "containers", "ephemeralContainers"):
        yield from _spec(pod).get(word) or ()


def _context(of: Mapping[str, Any]) -> Mapping[str, Any]:
    return of.get("securityContext") or {}


def _bad(pod: Pod, is_bad: Callable[[Mapping[str, Any]], object]) -> list[str]:
    return [str(one.get("name", "")) for one in _containers(pod) if is_bad(one)]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _plural(word: str, names: Sequence[str]) -> str:
    return f"{word}{'s' if len(names) != 1 else ''} {_quoted(names)}"


def _must_not(reason: str, names: Sequence[str], field: str) -> str:
    return f"{reason} ({_plural('container', names)} must not set {field})" if names else ""


def _host_namespaces(pod: Pod) -> str:
    asked = [f"{word}=true" for word in ("hostNetwork", "hostPID", "hostIPC") if _spec(pod).get(word)]
    return f"host namespaces ({', '.join(asked)})" if asked else ""


def _host_paths(pod: Pod) -> str:
    names = [str(one.get("name", "")) for one in _spec(pod).get("volumes") or () if "hostPath" in one]
    return f"hostPath volumes ({_plural('volume', names)})" if names else ""


def _host_ports(pod: Pod) -> str:
    used = [
        (one, port["hostPort"]) for one in _containers(pod) for port in one.get("ports") or () if port.get("hostPort")
    ]
    names = list(dict.fromkeys(str(one.get("name", "")) for one, _ in used))
    ports = [str(port) for port in sorted({port for _, port in used})]
    verb, word = ("uses" if len(names) == 1 else "use"), ("hostPort" if len(ports) == 1 else "hostPorts")
    return f"hostPort ({_plural('container', names)} {verb} {word} {', '.join(ports)})" if names else ""


def _privileged(pod: Pod) -> str:
    names = _bad(pod, lambda one: _context(one).get("privileged"))
    return _must_not("privileged", names, "securityContext.privileged=true")


def _proc_mount(pod: Pod) -> str:
    names = _bad(pod, lambda one: _context(one).get("procMount") not in (None, "Default"))
    return _must_not("procMount", names, 'securityContext.procMount to "Unmasked"')


def _added(one: Mapping[str, Any]) -> list[str]:
    return [str(word) for word in (_context(one).get("capabilities") or {}).get("add") or ()]


def _capabilities(pod: Pod) -> str:
    names = _bad(pod, lambda one: set(_added(one)) - _CAPABILITIES)
    words = sorted({word for one in _containers(pod) for word in _added(one)} - _CAPABILITIES)
    what = f"must not include {_quoted(words)} in securityContext.capabilities.add"
    return f"non-default capabilities ({_plural('container', names)} {what})" if names else ""


def _app_armor(pod: Pod) -> str:
    """By the fields, and by the annotations that came before them."""
    head = "container.apparmor.security.beta.kubernetes.io/"
    notes = ((pod.get("metadata") or {}).get("annotations") or {}).items()
    bad = [f'{key}="{value}"' for key, value in sorted(notes) if key.startswith(head) and not _is_confined(value)]
    contexts = [_context(_spec(pod)), *map(_context, _containers(pod))]
    if any((one.get("appArmorProfile") or {}).get("type") == "Unconfined" for one in contexts):
        bad.append('appArmorProfile.type="Unconfined"')
    return f"forbidden AppArmor profile{'s' if len(bad) > 1 else ''} ({', '.join(bad)})" if bad else ""


def _is_confined(profile: str) -> bool:
    return profile in ("", "runtime/default") or profile.startswith("localhost/")


def _se_linux(pod: Pod) -> str:
    def is_bad(of: Mapping[str, Any]) -> bool:
        options = _context(of).get("seLinuxOptions") or {}
        wrong_type = (options.get("type") or "") not in _SELINUX
        return wrong_type or bool(options.get("user")) or bool(options.get("role"))

    names = _bad(pod, is_bad)
    who = ["pod"] if is_bad(_spec(pod)) else []
    who += [_plural("container", names)] if names else []
    return f"seLinuxOptions ({' and '.join(who)} set forbidden securityContext.seLinuxOptions)" if who else ""


def _seccomp_type(of: Mapping[str, Any]) -> str:
    return str((_context(of).get("seccompProfile") or {}).get("type") or "")


def _seccomp(pod: Pod) -> str:
    names = _bad(pod, lambda one: _seccomp_type(one) == "Unconfined")
    who = ["pod"] if _seccomp_type(_spec(pod)) == "Unconfined" else []
    who += [_plural("container", names)] if names else []
    what = 'must not set securityContext.seccompProfile.type to "Unconfined"'
    return f"seccompProfile ({' and '.join(who)} {what})" if who else ""


def _sysctls(pod: Pod) -> str:
    names = [str(one["name"]) for one in _context(_spec(pod)).get("sysctls") or () if one["name"] not in _SYSCTLS]
    return f"forbidden sysctls ({', '.join(names)})" if names else ""


def _host_process(pod: Pod) -> str:
    def is_bad(of: Mapping[str, Any]) -> bool:
        return bool((_context(of).get("windowsOptions") or {}).get("hostProcess"))

    names = _bad(pod, is_bad)
    who = ["pod"] if is_bad(_spec(pod)) else []
    who += [_plural("container", names)] if names else []
    what = "must not set securityContext.windowsOptions.hostProcess=true"
    return f"hostProcess ({' and '.join(who)} {what})" if who else ""


def _is_windows(pod: Pod) -> bool:
    return bool((_spec(pod).get("os") or {}).get("name") == "windows")


def _escalation(pod: Pod) -> str:
    names = (
        [] if _is_windows(pod) else _bad(pod, lambda one: _context(one).get("allowPrivilegeEscalation") is not False)
    )
    what = "must set securityContext.allowPrivilegeEscalation=false"
    return f"allowPrivilegeEscalation != false ({_plural('container', names)} {what})" if names else ""


def _few_capabilities(pod: Pod) -> str:
    if _is_windows(pod):
        return ""
    keeping = _bad(pod, lambda one: "ALL" not in ((_context(one).get("capabilities") or {}).get("drop") or ()))
    adding = _bad(pod, lambda one: set(_added(one)) - {"NET_BIND_SERVICE"})
    words = sorted({word for one in _containers(pod) for word in _added(one)} - {"NET_BIND_SERVICE"})
    said = []
    if keeping:
        said.append(f'{_plural("container", keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        what = f"must not include {_quoted(words)} in securityContext.capabilities.add"
        said.append(f"{_plural('container', adding)} {what}")
    return f"unrestricted capabilities ({'; '.join(said)})" if said else ""


def _few_volumes(pod: Pod) -> str:
    bad = [(str(one.get("name", "")), _volume_type(one)) for one in _spec(pod).get("volumes") or ()]
    bad = [(name, kind) for name, kind in bad if kind not in _VOLUMES]
    names, kinds = [name for name, _ in bad], sorted({kind for _, kind in bad})
    verb, word = ("uses", "type") if len(names) == 1 else ("use", "types")
    what = f"{_plural('volume', names)} {verb} restricted volume {word} {_quoted(kinds)}"
    return f"restricted volume types ({what})" if bad else ""


def _volume_type(volume: Mapping[str, Any]) -> str:
    """A volume that says nothing is an emptyDir."""
    return next((word for word in volume if word != "name"), "emptyDir")


def _not_root(pod: Pod) -> str:
    whole = _context(_spec(pod)).get("runAsNonRoot")
    said = [_context(one).get("runAsNonRoot") for one in _containers(pod)]
    wrong = _bad(pod, lambda one: _context(one).get("runAsNonRoot") is False)
    if whole is False or wrong:
        who = (["pod"] if whole is False else []) + ([_plural("container", wrong)] if wrong else [])
        return f"runAsNonRoot != true ({' and '.join(who)} must not set securityContext.runAsNonRoot=false)"
    if whole or all(said):
        return ""
    silent = _bad(pod, lambda one: not _context(one).get("runAsNonRoot"))
    return f"runAsNonRoot != true (pod or {_plural('container', silent)} must set securityContext.runAsNonRoot=true)"


def _not_user_0(pod: Pod) -> str:
    names = _bad(pod, lambda one: _context(one).get("runAsUser") == 0)
    who = ["pod"] if _context(_spec(pod)).get("runAsUser") == 0 else []
    who += [_plural("container", names)] if names else []
    return f"runAsUser=0 ({' and '.join(who)} must not set runAsUser=0)" if who else ""


def _confined(pod: Pod) -> str:
    if _is_windows(pod):
        return ""
    unconfined = _seccomp(pod)
    whole = _seccomp_type(_spec(pod)) in ("RuntimeDefault", "Localhost")
    silent = [] if whole else _bad(pod, lambda one: not _seccomp_type(one))
    if unconfined or not silent:
        return unconfined
    what = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return f"seccompProfile (pod or {_plural('container', silent)} {what})"


_BOTH: tuple[Check, ...] = (_host_ports, _privileged, _proc_mount, _se_linux)
BASELINE: tuple[Check, ...] = (
    _app_armor,
    _capabilities,
    _host_namespaces,
    _host_paths,
    *_BOTH,
    _seccomp,
    _sysctls,
    _host_process,
)
RESTRICTED: tuple[Check, ...] = (
    _app_armor,
    _host_namespaces,
    *_BOTH,
    _sysctls,
    _host_process,
    _escalation,
    _few_capabilities,
    _few_volumes,
    _not_root,
    _not_user_0,
    _confined,
)
