"""Starting and ending a lab in the background, and talking to one that runs.

A lab is one process. It holds a lock on its state folder, so that there is never a second one on the same data, and it
leaves its process id with its time of start, so that only the process that was started is ever ended.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import orjson

from edge.errors import CredentialRejected, InvalidInput, NotFound, NotYet, OperationFailed, SiteUnreachable
from edge.lab.layout import LabConfig, Layout, usable
from edge.processes import Started, is_running

START_S = 60.0
STOP_S = 20.0
_POLL_S = 0.05

_started: list[subprocess.Popen[bytes]] = []
"""Children that outlive us on purpose: a Popen that is forgotten while its process runs gives a warning."""


def start(config: LabConfig) -> dict[str, Any]:
    """Start a lab in the background, wait until it is ready, and return its summary.

    Raises InvalidInput when it cannot be started as asked for, NotYet when it is not ready within a minute.
    """
    layout = Layout(config.state)
    if running(layout) is not None:
        remedy = "`edge lab down` ends it; another --state starts a second one"
        raise InvalidInput("a lab already runs in this folder", state=config.state, remedy=remedy)
    reader, writer = os.pipe()
    try:
        child = _spawn(config, layout, writer)
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return _first_word(pipe.fileno(), child, layout)


def stop(layout: Layout) -> bool:
    """End the lab of this state folder and wait until it is gone. False when none runs."""
    process = running(layout)
    if process is None:
        layout.pid.unlink(missing_ok=True)
        layout.summary.unlink(missing_ok=True)
        return False
    for word, patience in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, 5.0)):
        if _end(process, word, patience):
            return True
    raise NotYet("the lab does not end", pid=process.pid)


def forget(layout: Layout) -> None:
    """Drop what the sites and Azure held, but keep CA, tokens and devices. Raises InvalidInput while a lab runs."""
    if running(layout) is not None:
        raise InvalidInput("a lab runs in this folder", state=layout.state, remedy="`edge lab down` ends it")
    if layout.lock.exists():
        for folder in (layout.objects, layout.azure):
            shutil.rmtree(folder, ignore_errors=True)
        layout.clock.unlink(missing_ok=True)


def running(layout: Layout) -> Started | None:
    """The process of the lab in this folder, if it runs."""
    try:
        process = Started.model_validate(orjson.loads(layout.pid.read_bytes()))
    except (OSError, ValueError):
        return None
    return process if is_running(process) else None


def describe(layout: Layout) -> dict[str, Any]:
    """The summary of the lab that runs in this folder. Raises NotFound."""
    if running(layout) is None:
        raise NotFound("no lab runs in this folder", state=layout.state, remedy="`edge lab up` starts one")
    found: dict[str, Any] = orjson.loads(layout.summary.read_bytes())
    return found


def ask(layout: Layout, method: str, path: str, body: object = None) -> dict[str, Any]:
    """One request to the admin API of the lab in this folder. Raises InvalidInput, NotFound, SiteUnreachable."""
    url = describe(layout)["url"] + path
    token = layout.admin_token.read_text(encoding="ascii").strip()
    data = None if body is None else orjson.dumps(body)
    request = Request(url, data, {"Authorization": f"Bearer {token}"}, method=method)  # noqa: S310 - our own https url
    context = ssl.create_default_context(cafile=str(layout.ca_file))
    try:
        with urlopen(request, timeout=30, context=context) as response:  # noqa: S310 - as above
            said: dict[str, Any] = orjson.loads(response.read() or b"{}")
            return said
    except HTTPError as error:
        raise _refused(error, path) from error
    except (URLError, OSError) as error:
        raise SiteUnreachable("the lab does not answer", url=url, reason=error) from error


def _refused(error: HTTPError, path: str) -> CredentialRejected | NotFound | InvalidInput:
    try:
        said = orjson.loads(error.read())
    except ValueError:
        said = {}
    text = str(said.get("error", error.reason))
    if error.code == 401:
        return CredentialRejected(text, path=path)
    if error.code == 404:
        return NotFound(text, path=path)
    return InvalidInput(text, field=said.get("field"), value=said.get("value"))


def _spawn(config: LabConfig, layout: Layout, writer: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edge.lab", config.model_dump_json(), str(writer)]
    with _log(layout) as sink:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, pass_fds=(writer,), start_new_session=True
        )
    _started.append(child)
    return child


def _log(layout: Layout) -> IO[bytes]:
    """The lab's log; a folder that is no lab's is left alone, and the lab will say so through the pipe."""
    foreign = layout.state.exists() and not layout.lock.exists()
    if foreign and (not layout.state.is_dir() or any(layout.state.iterdir())):
        return Path(os.devnull).open("ab")
    with usable(layout):
        layout.state.mkdir(parents=True, exist_ok=True)
        layout.lock.touch()
        return layout.log.open("ab")


def _first_word(pipe: int, child: subprocess.Popen[bytes], layout: Layout) -> dict[str, Any]:
    said = _read_line(pipe, START_S)
    if said is None:
        child.terminate()
        raise NotYet("the lab is not ready in time", seconds=START_S, log=layout.log)
    if not said:
        raise OperationFailed("the lab ended while it started", exit_code=child.wait(), log=layout.log)
    word = orjson.loads(said)
    if "ready" in word:
        return describe(layout)
    child.wait()
    kind = InvalidInput if word["input"] else OperationFailed
    raise kind(word["error"], remedy=word["remedy"], **word["where"])


def _read_line(pipe: int, within_s: float) -> bytes | None:
    """The line from the child; empty when it closed the pipe without one, None when time is up."""
    until = time.monotonic() + within_s
    got = b""
    while not got.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return None
        part = os.read(pipe, 65536)
        if not part:
            return b""
        got += part
    return got


def _end(process: Started, word: signal.Signals, patience: float) -> bool:
    if is_running(process):
        os.kill(process.pid, word)
    until = time.monotonic() + patience
    while is_running(process):
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)
    return True
