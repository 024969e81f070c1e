"""Stamps as archives, in registries and in Git: the same content is the same stamp, and hostile forms are refused."""

from __future__ import annotations

import gzip
import io
import json
import ssl
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from dulwich import porcelain
from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo
from dulwich.server import BackendRepo, DictBackend
from dulwich.web import make_wsgi_chain
from typer.testing import CliRunner

from edge.cli.stamp import app
from edge.clients.oci_registry import RegistryAccess
from edge.clients.retry import RetryPolicy
from edge.clients.stamp_archive import pack_stamp, unpack_stamp
from edge.clients.stamp_artifacts import push_stamp, read_stamp_source
from edge.errors import CredentialRejected, InvalidInput, NotFound, Rejected, ServerFault
from edge.model.stamp import StampSource
from edge.policy.stamp import digest_of, parse_stamp
from tests.contract.served_registry import ServedRegistry

PASSWORD = "let me in"
MAIN = Ref(b"refs/heads/main")
QUICK = RetryPolicy.none()
STAMP = """
apiVersion: edge-platform.io/v1
kind: Stamp
metadata: {name: till}
spec: {version: VERSION, namespaces: [shop], components: [{name: web, path: web}]}
"""
FILES = {
    "stamp.yaml": STAMP.replace("VERSION", "1.0.0"),
    "web/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {a: grüß}\r\n",
}


class Server(ServedRegistry):
    """A registry to which stamps are pushed with a login, and from which they are read without one."""

    def push(self, files: dict[str, str], to: str) -> str:
        """Push a stamp with these files below the registry's host."""
        source = StampSource(origin="here", files=files)
        return push_stamp(parse_stamp(source), source, f"oci://{self.host}/{to}", access=self.access, retry=QUICK)

    def read(self, where: str) -> StampSource:
        """Read any form of a stamp."""
        return read_stamp_source(where, (), access=RegistryAccess(self.ca_file), retry=QUICK)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    served = Server(tmp_path_factory.mktemp("registry"))
    yield served
    served.close()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Git repository with the stamp in `stamps/till`, on the branch `main` and under the tag `v1`."""
    folder = tmp_path_factory.mktemp("git")
    porcelain.init(folder)
    written = {**{f"stamps/till/{path}": text for path, text in FILES.items()}, "stamps/till/.hidden": "x", "other": ""}
    for path, text in written.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())
    link = folder / "linked" / "link.yaml"
    link.parent.mkdir()
    link.symlink_to("../other")
    (folder / "linked" / "stamp.yaml").write_text(FILES["stamp.yaml"])
    who = b"Somebody <somebody@example.com>"
    with Repo(folder) as repo:
        porcelain.add(repo, [*written, "linked/link.yaml", "linked/stamp.yaml"])
        commit = porcelain.commit(repo, message="A stamp", author=who, committer=who)
        repo.refs[MAIN] = ObjectID(commit)
        porcelain.tag_create(repo, b"v1", author=who, message=b"The first", annotated=True)
    return folder


@pytest.fixture(scope="module")
def git_server(server: Server, repository: Path) -> Iterator[str]:
    """The repository's URL on a Git server behind TLS."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with Repo(repository) as repo:
        served_repositories: dict[str, BackendRepo] = {"/till.git": repo}
        app = make_wsgi_chain(DictBackend(served_repositories))
        served = make_server("127.0.0.1", 0, app, server_class=WSGIServer, handler_class=Quiet)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.cert, server.key)
        served.socket = context.wrap_socket(served.socket, server_side=True)
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"git+https://127.0.0.1:{served.server_port}/till.git"
        served.shutdown()
        thread.join()
        served.server_close()


def test_folder_archive_registry_and_git_give_the_same_stamp(
    server: Server, repository: Path, git_server: str, tmp_path: Path
) -> None:
    archive = tmp_path / "till.tar.gz"
    archive.write_bytes(pack_stamp(FILES))
    address = server.push(FILES, "same/till")
    forms = [str(repository / "stamps" / "till"), str(archive), address, f"oci://{server.host}/same/till:1.0.0"]
    forms += [f"git+file://{repository}#main:stamps/till", f"{git_server}#v1:stamps/till"]
    digests = {digest_of(server.read(form).files) for form in forms}
    assert digests == {digest_of(FILES)}


def test_a_tag_and_a_branch_are_resolved_to_what_they_stand_for(server: Server, repository: Path) -> None:
    address = server.push(FILES, "resolved/till:stable")
    assert server.read(f"oci://{server.host}/resolved/till:stable").origin == address
    with Repo(repository) as repo:
        head = repo.refs[MAIN].decode()
    for ref in ("main", "v1", head):
        assert server.read(f"git+file://{repository}#{ref}:stamps/till").origin.endswith(f"#{head}:stamps/till")


def test_a_commit_is_fetched_from_a_server_by_branch_and_by_its_own_name(git_server: str, server: Server) -> None:
    by_branch = server.read(f"{git_server}#main:stamps/till")
    commit = by_branch.origin.partition("#")[2].partition(":")[0]
    assert server.read(f"{git_server}#{commit}:stamps/till") == by_branch


def test_the_same_content_is_pushed_once_and_has_one_digest(server: Server) -> None:
    assert server.push(FILES, "once/till") == server.push(dict(reversed(FILES.items())), "once/till")


def test_a_tag_is_not_given_to_another_content(server: Server) -> None:
    before = server.push(FILES, "taken/till")
    other = {**FILES, "web/more.yaml": FILES["web/config.yaml"].replace("name: web", "name: more")}
    with pytest.raises(InvalidInput, match="another content already"):
        server.push(other, "taken/till")
    assert server.read(f"oci://{server.host}/taken/till:1.0.0").origin == before


def test_a_push_without_a_login_is_refused(server: Server) -> None:
    source = StampSource(origin="here", files=FILES)
    with pytest.raises(CredentialRejected, match="wants a login"):
        push_stamp(
            parse_stamp(source),
            source,
            f"oci://{server.host}/no/login",
            access=RegistryAccess(server.ca_file),
            retry=QUICK,
        )


@pytest.mark.parametrize(
    ("where", "error"),
    [
        pytest.param("oci://{host}/nothing/there:1", NotFound, id="no such artifact"),
        pytest.param("oci://{host}/nothing", InvalidInput, id="an artifact without a tag"),
        pytest.param("oci://127.0.0.1:9/a:1", ServerFault, id="no registry"),
        pytest.param("{git}#gone:stamps/till", NotFound, id="no such branch"),
        pytest.param("{git}#" + "0" * 40, NotFound, id="no such commit"),
        pytest.param("{git}#main:nowhere", NotFound, id="no such folder"),
        pytest.param("{git}#main:stamps", NotFound, id="a folder without a stamp"),
        pytest.param("{git}#main:linked", InvalidInput, id="a link"),
        pytest.param("{git}", InvalidInput, id="no ref"),
        pytest.param("git+https://user:word@host/x.git#main", InvalidInput, id="a password in an address"),
        pytest.param("git+http://host/x.git#main", InvalidInput, id="without TLS"),
        pytest.param("git+https://127.0.0.1:9/x.git#main", ServerFault, id="no Git server"),
        pytest.param("git+file:///nowhere/at/all#main", NotFound, id="no repository"),
    ],
)
def test_what_is_not_there_has_its_own_error(
    server: Server, git_server: str, where: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        server.read(where.format(host=server.host, git=git_server))
    assert "user:word" not in str(caught.value)


def test_a_chart_is_not_a_stamp(server: Server) -> None:
    server.put("other/thing:1", "text/plain", b"{}")
    with pytest.raises(Rejected, match="not a stamp"):
        server.read(f"oci://{server.host}/other/thing:1")


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def _file(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def _special(kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo("web/x.yaml")
    member.type, member.linkname = kind, "/etc/passwd"
    return member, b""


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(lambda: _tar(_file("../stamp.yaml")), "inside the stamp", id="out of the folder"),
        pytest.param(lambda: _tar(_file("/stamp.yaml")), "inside the stamp", id="an absolute path"),
        pytest.param(lambda: _tar(_file("a\\b")), "inside the stamp", id="a backslash"),
        pytest.param(lambda: _tar(_special(tarfile.SYMTYPE)), "links", id="a symbolic link"),
        pytest.param(lambda: _tar(_special(tarfile.LNKTYPE)), "links", id="a hard link"),
        pytest.param(lambda: _tar(_special(tarfile.FIFOTYPE)), "only files", id="a pipe"),
        pytest.param(lambda: _tar(_file("stamp.yaml"), _file("stamp.yaml")), "twice", id="a file twice"),
        pytest.param(lambda: _tar(_file("a", b"x" * 1_000_001)), "larger than", id="a large file"),
        pytest.param(lambda: _tar(*(_file(str(n)) for n in range(1001))), "1000 files", id="many files"),
        pytest.param(lambda: _tar(_file("/".join("a" * 18))), "deep", id="deep folders"),
        pytest.param(lambda: _tar(_file("a", b"\xff")), "UTF-8", id="no text"),
        pytest.param(lambda: gzip.compress(bytes(30_000_000)), "holds more than", id="a bomb"),
        pytest.param(lambda: pack_stamp(FILES)[:-20], "cut off", id="cut off"),
        pytest.param(lambda: b"PK\x03\x04", "not a stamp's archive", id="no gzip"),
        pytest.param(lambda: gzip.compress(b"x" * 600), "not a stamp's archive", id="no tar"),
    ],
)
def test_a_hostile_archive_is_refused(make: Callable[[], bytes], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        unpack_stamp(make(), origin="archive")


def test_an_archive_is_the_same_bytes_every_time_and_any_tar_reads_it() -> None:
    archive = pack_stamp({**FILES, "big.yaml": "0123456789" * 20_000})
    assert archive == pack_stamp({"big.yaml": "0123456789" * 20_000, **dict(reversed(FILES.items()))})
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        assert opened.getnames() == ["big.yaml", "stamp.yaml", "web/config.yaml"]


def test_an_archive_of_another_tool_is_read_too() -> None:
    folder = tarfile.TarInfo("./web")
    folder.type = tarfile.DIRTYPE
    members = [_file(f"./{path}", text.encode()) for path, text in FILES.items()]
    read = unpack_stamp(_tar((folder, b""), *members, _file("./.git/config")), origin="archive")
    assert read.files == FILES


def test_the_command_packages_into_a_registry_and_into_a_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_REGISTRY_CA_FILE", server.ca_file)
    monkeypatch.setenv("EDGE_REGISTRY_AUTH", str(server.access.auth_file))
    folder, archive = tmp_path / "till", tmp_path / "till.tar.gz"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())
    for to in (f"oci://{server.host}/command/till", str(archive)):
        answer = CliRunner().invoke(app, ["package", str(folder), "--to", to, "--json"])
        assert answer.exit_code == 0, answer.output
        said = json.loads(answer.output)
        assert said["digest"] == digest_of(FILES)
        assert server.read(said["address"]).files == FILES


@pytest.mark.parametrize("to", ["till.zip", "docker://host/till", "oci://host"])
def test_the_command_refuses_what_it_cannot_write(tmp_path: Path, to: str) -> None:
    archive = tmp_path / "till.tar.gz"
    archive.write_bytes(pack_stamp(FILES))
    answer = CliRunner().invoke(app, ["package", str(archive), "--to", to])
    assert answer.exit_code == 2
    assert to in " ".join(answer.output.split())
