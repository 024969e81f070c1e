"""Reading a stamp from a Git repository, at one commit: over HTTPS, or from a repository on this machine.

Dulwich speaks the protocol, so no `git` is started and none of its configuration is read: a repository cannot make
anything run here. Only the commit that is meant is fetched where the server allows it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import urllib3
from dulwich.client import HttpGitClient, HTTPUnauthorized
from dulwich.config import ConfigDict
from dulwich.errors import GitProtocolError, HangupException, NotGitRepository
from dulwich.object_store import BaseObjectStore
from dulwich.objects import Blob, Commit, ObjectID, Tag, Tree
from dulwich.repo import Repo

from edge.clients.docker_config import login_for
from edge.clients.oci_registry import RegistryAccess
from edge.clients.retry import Retrier, RetryPolicy
from edge.clients.stamp_files import StampFiles
from edge.errors import CredentialRejected, InvalidInput, NotFound, Rejected, ServerFault
from edge.model.stamp import StampSource

LARGEST_PACK = 64_000_000
"""How many bytes a server may send for one stamp."""
MOST_ENTRIES = 10_000
"""How many files and folders are looked at: a tree can hold the same one again and again."""
_TIMEOUT_S = 60.0
_RETRY = RetryPolicy()
_FORM = re.compile(r"git\+(?P<url>(?:https|file)://[^#\s]+)#(?P<ref>[^:\s]+)(?::(?P<folder>[^\s]*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LINK, _SUBMODULE, _TREE = 0o120000, 0o160000, 0o040000


class GitRef(NamedTuple):
    """Where a stamp is: the repository's URL, a branch, tag or commit, and the folder below its root ("" for that)."""

    url: str
    ref: str
    folder: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `git+https://host/repo.git#ref[:folder]` or `git+file:///path#ref[:folder]`. Raises InvalidInput."""
        found = _FORM.fullmatch(text)
        if found is None or "@" in urlsplit(found["url"]).netloc:
            remedy = "Write git+https://host/repo.git#ref:folder, without a user; logins come from a file"
            shown = re.sub(r"//[^/@]*@", "//", text)
            raise InvalidInput("This is not the address of a stamp in a Git repository", remedy=remedy, value=shown)
        return cls(found["url"], found["ref"], (found["folder"] or "").strip("/"))


def read_git(text: str, access: RegistryAccess, *, retry: RetryPolicy = _RETRY) -> StampSource:
    """The stamp's files; the origin names the commit that the ref stood for.

    Raises NotFound for a repository, ref or folder that is not there, CredentialRejected, and ServerFault.
    """
    where = GitRef.parse(text)
    if where.url.startswith("file://"):
        with _told(where), Repo(urlsplit(where.url).path) as repo:
            refs = {ref: repo.refs[ref] for ref in repo.refs.allkeys() if ref in repo.refs}
            return _read(repo.object_store, _resolved(refs, where), where)
    with tempfile.TemporaryDirectory(prefix="edge-git-") as made:
        return Retrier(retry).run(lambda: _fetched(where, access, Path(made)))


def _fetched(where: GitRef, access: RegistryAccess, folder: Path) -> StampSource:
    with tempfile.TemporaryDirectory(dir=folder) as made, _told(where), Repo.init_bare(made) as repo:
        client = _client(where, access)
        path = urlsplit(where.url).path
        wanted = _resolved(client.get_refs(path.encode()).refs, where)
        try:
            _fetch(client, path, repo, wanted, depth=1)
        except GitProtocolError:
            _fetch(client, path, repo, None, depth=None)  # a server may refuse a commit that no ref names
        return _read(repo.object_store, wanted, where)


def _client(where: GitRef, access: RegistryAccess) -> HttpGitClient:
    parts = urlsplit(where.url)
    user, password = login_for(parts.netloc, access.auth_file) or (None, None)
    timeout = urllib3.Timeout(connect=10.0, read=_TIMEOUT_S)
    pool = urllib3.PoolManager(ca_certs=access.ca_file, timeout=timeout, retries=False)
    base = f"{parts.scheme}://{parts.netloc}"
    return HttpGitClient(base, pool_manager=pool, config=ConfigDict(), username=user, password=password)


def _fetch(client: HttpGitClient, path: str, repo: Repo, wanted: ObjectID | None, depth: int | None) -> None:
    received = 0

    def take(piece: bytes) -> int:
        nonlocal received
        received += len(piece)
        if received > LARGEST_PACK:
            raise Rejected(f"The repository sends more than {LARGEST_PACK} bytes")
        return pack.write(piece)

    def wants(refs: Mapping[Any, Any], depth: int | None = None) -> list[Any]:  # noqa: ARG001 - dulwich names it
        return [wanted] if wanted is not None else sorted({found for found in refs.values() if found})

    with tempfile.TemporaryFile() as pack:
        client.fetch_pack(path, wants, repo.get_graph_walker(), take, depth=depth)
        pack.seek(0)
        if received:
            repo.object_store.add_thin_pack(pack.read, None)


def _resolved(refs: Mapping[Any, Any], where: GitRef) -> ObjectID:
    """The object that the ref stands for: a tag before a branch of that name, as Git has it."""
    ref = where.ref.encode()
    for name in (ref, b"refs/tags/" + ref, b"refs/heads/" + ref):
        if refs.get(name) and (name.startswith(b"refs/") or name == b"HEAD"):
            return ObjectID(refs[name])
    if _COMMIT.fullmatch(where.ref):
        return ObjectID(ref)
    raise NotFound("The repository has no such branch, tag or commit", repository=where.url, ref=where.ref)


def _read(store: BaseObjectStore, start: ObjectID, where: GitRef) -> StampSource:
    found = store[start]
    while isinstance(found, Tag):
        found = store[found.object[1]]
    if not isinstance(found, Commit):
        raise InvalidInput("This is no commit", repository=where.url, ref=where.ref)
    suffix = f":{where.folder}" if where.folder else ""
    origin = f"git+{where.url}#{found.id.decode()}{suffix}"
    tree = _folder(store, found.tree, where)
    files = StampFiles(origin)
    for count, (path, mode, blob) in enumerate(_entries(store, tree, "")):
        if count > MOST_ENTRIES:
            raise files.refuse("", f"The folder has more than {MOST_ENTRIES} entries")
        if mode in (_LINK, _SUBMODULE):
            what = "links" if mode == _LINK else "submodules"
            raise files.refuse(path, f"A stamp may not contain {what}")
        content = store[blob]
        if isinstance(content, Blob) and files.wants(path, content.raw_length()):
            files.add(path, content.data)
    return files.source()


def _folder(store: BaseObjectStore, tree: ObjectID, where: GitRef) -> ObjectID:
    for part in filter(None, where.folder.split("/")):
        here = store[tree]
        found = [entry for entry in here.items() if entry.path == part.encode()] if isinstance(here, Tree) else []
        if not found or found[0].mode != _TREE or found[0].sha is None:
            raise NotFound("The repository has no such folder", repository=where.url, folder=where.folder)
        tree = found[0].sha
    return tree


def _entries(store: BaseObjectStore, tree: ObjectID, above: str) -> Iterator[tuple[str, int, ObjectID]]:
    """Every entry, folders before what is in them; hidden ones are left out."""
    found = store[tree]
    for entry in found.items() if isinstance(found, Tree) else ():
        assert entry.path is not None
        assert entry.mode is not None
        assert entry.sha is not None
        name = entry.path.decode(errors="replace")
        if name.startswith("."):
            continue
        yield f"{above}{name}", entry.mode, entry.sha
        if entry.mode == _TREE:
            yield from _entries(store, entry.sha, f"{above}{name}/")


@contextmanager
def _told(where: GitRef) -> Iterator[None]:
    """Dulwich has no common error of its own, but all of them are defined in its modules."""
    try:
        yield
    except NotGitRepository as error:
        raise NotFound("There is no Git repository there", repository=where.url) from error
    except KeyError as error:
        raise NotFound("The repository has no such commit", repository=where.url, ref=where.ref) from error
    except HTTPUnauthorized as error:
        remedy = "Put a login for the server's host into the file that EDGE_REGISTRY_AUTH names"
        raise CredentialRejected("The Git server wants a login", remedy=remedy, repository=where.url) from error
    except (urllib3.exceptions.HTTPError, HangupException, OSError) as error:
        raise ServerFault("The Git server cannot be reached", repository=where.url) from error
    except Exception as error:
        if isinstance(error.__cause__, urllib3.exceptions.HTTPError):
            raise ServerFault("The Git server cannot be reached", repository=where.url) from error
        if not type(error).__module__.startswith("dulwich"):
            raise
        raise Rejected(f"The Git server's answer cannot be used: {error}", repository=where.url) from error
