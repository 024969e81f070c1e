"""The yardstick: the official client, nothing else, applying the same objects to the same sites with the same threads.

`python -m deployments.local.bench_bare KUBECONFIGS OBJECTS.json THREADS` prints what it used as JSON.
"""

from __future__ import annotations

import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import yaml
from kubernetes import client
from kubernetes.config.kube_config import KubeConfigLoader

TIMEOUT_S = 60


def apply_all(kubeconfig: Path, objects: list[dict[str, Any]]) -> int:
    """Server-side apply of ConfigMaps and their namespace to one site, over one connection."""
    settings = client.Configuration()
    KubeConfigLoader(yaml.load(kubeconfig.read_text(), yaml.CSafeLoader)).load_and_set(settings)
    settings.retries = False
    with client.ApiClient(settings) as api:
        core = client.CoreV1Api(api)
        for obj in objects:
            _apply(core, obj)
    return len(objects)


def _apply(core: Any, obj: dict[str, Any]) -> None:
    meta = obj["metadata"]
    options: dict[str, Any] = {
        "field_manager": "bare-client",
        "_content_type": "application/apply-patch+yaml",
        "_request_timeout": TIMEOUT_S,
    }
    if obj["kind"] == "Namespace":
        core.patch_namespace(meta["name"], obj, **options)
    else:
        core.patch_namespaced_config_map(meta["name"], meta["namespace"], obj, **options)


def main() -> None:
    """Apply to every site in the folder, and print seconds, CPU seconds, peak MiB and the number of applies."""
    folder, objects, threads = Path(sys.argv[1]), orjson.loads(Path(sys.argv[2]).read_bytes()), int(sys.argv[3])
    files = sorted(folder.glob("*.kubeconfig"))
    started = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        applies = sum(pool.map(lambda file: apply_all(file, objects), files))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    said = {
        "wall_s": time.monotonic() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "applies": applies,
    }
    sys.stdout.write(orjson.dumps(said).decode() + "\n")


if __name__ == "__main__":
    main()
