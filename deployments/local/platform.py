"""The whole platform on one machine: lab, Prefect server, worker and gateway, with one state folder and free ports.

Everything that is started is written down before it is waited for, so `stop` finds it whatever happened in between.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
from cryptography.fernet import Fernet
from pydantic import Field, ValidationError

from edge.errors import InvalidInput, NotYet, Permanent
from edge.model.base import Value
from edge.processes import Started, end, free_port, is_running, spawn

WAIT_S = 90.0
_LAB = Path(__file__).parents[1] / "environments" / "lab"
BAD_INPUT = 2
"""Exit code of our own commands when the input is wrong."""
SERVER_TUNING = {
    # The defaults record one task run per transaction; these took the recorder from 32 to 6 ms of CPU per run.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
WORKER_TUNING = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # Helm is Go: with its usual 100 the collector took a third of the CPU of an install, 45 of 140 ms.
    "GOGC": "800",
}


class Addresses(Value):
    """Where the parts of a running platform are."""

    prefect_ui: str
    prefect_api: str
    gateway: str
    gateway_token_file: Path
    ledger_url: str = Field(default="", exclude=True, repr=False)
    """May hold a password, so it is never written down or shown."""
    lab: dict[str, Any]
    environment: dict[str, str]
    """What a command needs in its environment to work with this platform. One is secret: the lab's identity header."""


class _State(Value):
    """What is written down: the processes that were started, and where everything is once it runs."""

    started: dict[str, Started] = Field(default={})
    addresses: Addresses | None = None


def exports(environment: Mapping[str, str]) -> str:
    """Lines that set these in a shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def write_private(file: Path, text: str) -> None:
    """Replace the file as a whole; only its owner reads it."""
    draft = file.with_suffix(".tmp")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(file)


class LocalPlatform:
    """Start and stop everything in `home`. Two of them with different folders do not meet."""

    def __init__(
        self,
        home: Path,
        *,
        say: Callable[[str], None] = lambda _: None,
        clock_rate: float = 1.0,
        workers: int = 1,
        runs_each: int = 4,
    ) -> None:
        self.home = home.absolute()
        self.workers = ("worker", *(f"worker-{number}" for number in range(2, workers + 1)))
        """Names of the workers."""
        self.runs_each = runs_each
        """How many runs a worker has room for."""
        self.say = say
        self.clock_rate = clock_rate
        """Seconds of the lab for each real one."""
        self._worker_env: dict[str, str] = {}
        self._state = self.home / "platform.json"
        self.environment_file = self.home / "env.sh"
        """`Addresses.environment` as lines for a shell, there while the platform runs."""
        self._started: dict[str, Started] = dict(self._read().started)

    def start(self, *, sites: int, scenario: str | None, settings: Mapping[str, str] | None = None) -> Addresses:
        """Bring everything up and wait until it answers. `settings` are `EDGE_*` that the blocks are made from.

        The ledger is a file in `home` unless `settings` say otherwise: what the environment says of another one does
        not count, so that a demonstration never ends in somebody's own ledger.

        Raises Permanent when it runs already or a part of it ends at once, NotYet when one does not answer. A start
        that fails or is interrupted ends what it had started.
        """
        self._refuse_if_running()
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)  # databases, logs and keys of several programs
        try:
            return self._start(sites, scenario, settings or {})
        except BaseException:
            self.stop()
            raise

    def _start(self, sites: int, scenario: str | None, settings: Mapping[str, str]) -> Addresses:
        lab = self._start_lab(sites, scenario)
        addresses = self._addresses(lab, settings.get("EDGE_LEDGER_URL") or f"sqlite:///{self.home / 'ledger.db'}")
        mine = {"EDGE_LEDGER_URL": addresses.ledger_url, **self._secrets(addresses)}
        env = {**os.environ, **addresses.environment, **mine, **settings}
        self._start_server(addresses, env)
        self.say("telling Prefect about blocks, work pools and deployments")
        self._run([sys.executable, "-m", "deployments.apply"], env)
        for name in self.workers:
            self._start_worker(name, env)
        self._start_gateway(addresses, env)
        self._write(addresses)
        write_private(self.environment_file, exports(addresses.environment))
        return addresses

    def kill_worker(self, name: str = "worker") -> None:
        """End the worker as a power cut would, and start another. Runs that it had started go on, and nobody's."""
        with suppress(ProcessLookupError):
            os.kill(self.pid(name), signal.SIGKILL)
        addresses = self.addresses()
        self._start_worker(name, self._worker_env)
        self._write(addresses)

    def stop(self) -> list[str]:
        """End what was started here and still runs; answers its names."""
        ended = [name for name, process in reversed(self._started.items()) if end(process)]
        if self._end_lab():
            ended.append("lab")
        self._started.clear()
        self._state.unlink(missing_ok=True)
        self.environment_file.unlink(missing_ok=True)
        return ended

    def forget(self) -> None:
        """Delete the state folder: the next start begins with nothing. Raises Permanent while something runs."""
        self._refuse_if_running()
        if self._end_lab():
            self.say("ended a lab that was left over")
        shutil.rmtree(self.home, ignore_errors=True)
        self._started.clear()

    def _refuse_if_running(self) -> None:
        if any(is_running(process) for process in self._started.values()):
            raise Permanent("The platform runs already", remedy="Use `make down` first", folder=self.home)

    def addresses(self) -> Addresses | None:
        """Where the running platform is; None when it does not run."""
        return self._read().addresses

    def pid(self, name: str) -> int:
        """The process id of a part: `prefect-server`, `worker` or `gateway`."""
        return self._started[name].pid

    def _start_lab(self, sites: int, scenario: str | None) -> dict[str, Any]:
        self.say(f"starting the lab with {sites} sites")
        weather = ["--scenario", scenario] if scenario else []
        clock = ["--clock-rate", str(self.clock_rate)] if self.clock_rate != 1.0 else []
        said = self._edge(
            "lab", "up", "--sites", str(sites), *weather, *clock, "--state", str(self.home / "lab"), "--json"
        )
        found: dict[str, Any] = orjson.loads(said)
        return found

    def _end_lab(self) -> bool:
        """Whether there was one to end."""
        said = self._edge("lab", "down", "--state", str(self.home / "lab"), "--json", check=False)
        return bool(said) and bool(orjson.loads(said)["ended"])

    def _start_server(self, addresses: Addresses, env: dict[str, str]) -> None:
        self.say("starting the Prefect server")
        port = addresses.prefect_ui.rpartition(":")[2]
        server = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        self._spawn("prefect-server", server, {**env, **SERVER_TUNING})
        self._await("prefect-server", f"{addresses.prefect_api}/health")

    def _start_worker(self, name: str, env: dict[str, str]) -> None:
        self.say("starting a worker")
        self._worker_env = env
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "edge", "--type", "process"]
        called = name.replace("worker", "local")
        worker += ["--name", called, "--limit", str(self.runs_each)]
        self._spawn(name, worker, {**env, **WORKER_TUNING}, cwd=Path("/"))

    def _start_gateway(self, addresses: Addresses, env: dict[str, str]) -> None:
        self.say("starting the gateway")
        port = addresses.gateway.rpartition(":")[2]
        gateway = [sys.executable, "-m", "edge", "gateway", "serve", "--host", "127.0.0.1", "--port", port]
        self._spawn("gateway", gateway, env)
        self._await("gateway", f"{addresses.gateway}/readyz")

    def _addresses(self, lab: dict[str, Any], ledger_url: str) -> Addresses:
        prefect, gateway = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        azure = lab["azure"]
        environment = {
            "PREFECT_API_URL": f"{prefect}/api",
            "PREFECT_HOME": str(self.home / "prefect"),
            "EDGE_HOME": str(self.home),
            "EDGE_CREDENTIALS": str(lab["kubeconfigs"]),
            "EDGE_TRUST": str(lab["manufacturer"]["ca_file"]),
            "EDGE_VOUCHER_TRUST": str(lab["manufacturer"]["voucher_ca_file"]),
            "EDGE_TPM_TRUST": str(lab["manufacturer"]["tpm_ca_file"]),
            "EDGE_ADMISSION": str(_LAB / "admission.yaml"),
            "EDGE_ASSIGNMENT": str(_LAB / "assignment.yaml"),
            "EDGE_ARC_SUBSCRIPTION": azure["subscription_id"],
            "EDGE_ARC_RESOURCE_GROUP": azure["resource_group"],
            "EDGE_ARC_LOCATION": azure["location"],
            "EDGE_ARC_ENDPOINT": azure["endpoint"],
            "EDGE_ARC_CA_FILE": str(lab["ca_file"]),
            "EDGE_GITOPS_URL": lab["gitops"]["url"],
            "EDGE_GITOPS_CA_FILE": str(lab["gitops"]["ca_file"]),
            "EDGE_GITOPS_USERNAME": lab["gitops"]["username"],
            **azure["env"],
        }
        return Addresses(
            prefect_ui=prefect,
            prefect_api=f"{prefect}/api",
            gateway=gateway,
            gateway_token_file=self.home / "gateway-token",
            ledger_url=ledger_url,
            lab=lab,
            environment=environment,
        )

    def _secrets(self, addresses: Addresses) -> dict[str, str]:
        """Made on the first start, kept in files that only their owner reads."""
        token = self._secret(addresses.gateway_token_file, lambda: secrets.token_urlsafe(32))
        key = self._secret(self.home / "prefect-encryption-key", lambda: Fernet.generate_key().decode())
        return {
            "EDGE_GATEWAY_TOKENS": orjson.dumps([token]).decode(),
            "EDGE_GITOPS_PASSWORD": Path(addresses.lab["gitops"]["password_file"]).read_text().strip(),
            "PREFECT_SERVER_ENCRYPTION_KEY": key,
        }

    def _secret(self, file: Path, make: Callable[[], str]) -> str:
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(make())
        return file.read_text()

    def _spawn(self, name: str, argv: list[str], env: dict[str, str], cwd: Path | None = None) -> None:
        log = self.home / "logs" / f"{name}.log"
        self._started[name] = spawn(argv, env=env, log=log, cwd=cwd or self.home)
        self._write(None)

    def _await(self, name: str, url: str) -> None:
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            if not is_running(self._started[name]):
                raise Permanent("A part of the platform ended at its start", part=name, log=self._log_end(name))
            if _answers(url):
                return
            time.sleep(0.1)
        raise NotYet("A part of the platform does not answer", part=name, url=url, log=self._log_end(name))

    def _log_end(self, name: str) -> str:
        text = (self.home / "logs" / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-15:])

    def _edge(self, *arguments: str, check: bool = True) -> str:
        return self._run([sys.executable, "-m", "edge", *arguments], dict(os.environ), check=check)

    def _run(self, argv: list[str], env: dict[str, str], *, check: bool = True) -> str:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own
        if check and done.returncode != 0:
            said = done.stderr[-2000:]
            kind = InvalidInput if done.returncode == BAD_INPUT else Permanent
            raise kind("A command failed", command=" ".join(argv[1:]), status=done.returncode, said=said)
        return done.stdout if done.returncode == 0 else ""

    def _write(self, addresses: Addresses | None) -> None:
        write_private(self._state, _State(started=self._started, addresses=addresses).model_dump_json(indent=2))

    def _read(self) -> _State:
        if not self._state.exists():
            return _State()
        try:
            return _State.model_validate_json(self._state.read_bytes())
        except ValidationError as broken:
            remedy = "End the processes that are left of the platform, and delete the file"
            raise Permanent("The state file cannot be read", remedy=remedy, file=self._state) from broken


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).is_success
    except httpx.HTTPError:
        return False
