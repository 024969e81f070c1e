"""Reading kubeconfig files: what is taken, what is refused, and that secrets stay out of sight."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from edge.clients.access import SiteAccess, flatten
from edge.clients.exec_credential import run_plugin
from edge.clients.kubeconfig import read_kubeconfig
from edge.errors import CredentialRejected, InvalidInput, NotYet

CA = "-----BEGIN CERTIFICATE-----\nCA\n-----END CERTIFICATE-----\n"
SERVER = "https://10.0.0.1:6443"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config(user: Any = None, cluster: Any = None, **top: Any) -> str:
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [
            {"name": "c", "cluster": {"server": SERVER, "certificate-authority-data": encoded(CA), **(cluster or {})}}
        ],
        "users": [{"name": "u", "user": {"token": "s3cret"} if user is None else user}],
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "ignored"}}],
        **top,
    }
    return json.dumps({field: value for field, value in whole.items() if value is not None})


def written(folder: Path, text: str) -> Path:
    file = folder / "site.kubeconfig"
    file.write_text(text)
    return file


def test_the_current_context_is_read() -> None:
    access = read_kubeconfig(config())
    assert access.server == SERVER
    assert access.ca_data == CA
    assert access.token == SecretStr("s3cret")
    assert not access.insecure


def test_yaml_as_kubectl_writes_it_is_read() -> None:
    text = f"""\
apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: {encoded(CA)}
    server: {SERVER}/sites/site-0001/
    tls-server-name: kubernetes
    proxy-url: http://me:pass@proxy:3128
  name: c
contexts:
- context:
    cluster: c
    user: u
  name: a
current-context: ""
preferences: {{}}
users:
- name: u
  user:
    token: s3cret
"""
    access = read_kubeconfig(text, "a")
    assert access.server == f"{SERVER}/sites/site-0001"
    assert access.tls_server_name == "kubernetes"
    assert access.proxy is not None
    assert access.proxy.get_secret_value() == "http://me:pass@proxy:3128"


def test_a_named_context_is_read() -> None:
    contexts = [
        {"name": "main", "context": {"cluster": "c", "user": "u"}},
        {"name": "nobody", "context": {"cluster": "c"}},
    ]
    assert read_kubeconfig(config(contexts=contexts), "nobody").token is None


def test_files_beside_a_kubeconfig_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(CA)
    (tmp_path / "token").write_text("from-file\n")
    (tmp_path / "tls.crt").write_text("CERT")
    (tmp_path / "tls.key").write_text("KEY")
    cluster = {"certificate-authority-data": "", "certificate-authority": "ca.crt"}
    user = {"tokenFile": "token", "client-certificate": "tls.crt", "client-key": str(tmp_path / "tls.key")}
    file = written(tmp_path, config(user, cluster))
    access = read_kubeconfig(file)
    assert access == read_kubeconfig(str(file))
    assert access.ca_data == CA
    assert access.token == SecretStr("from-file")
    assert access.client_certificate == "CERT"
    assert access.client_key == SecretStr("KEY")


def test_inline_data_goes_before_files(tmp_path: Path) -> None:
    file = written(tmp_path, config(None, {"certificate-authority": "not-there"}))
    assert read_kubeconfig(file).ca_data == CA


REFUSED = [
    pytest.param(config(**{"current-context": ""}), None, "current-context", id="no-current-context"),
    pytest.param(config(), "other", "contexts", id="unknown-context"),
    pytest.param(config(clusters=[]), None, "clusters", id="no-cluster"),
    pytest.param(config(users=[]), None, "users", id="no-user"),
    pytest.param(config(users=[{"name": "u"}, {"name": "u"}]), None, "users", id="two-users-of-one-name"),
    pytest.param(config(contexts={"main": {}}), None, "contexts", id="contexts-that-are-no-list"),
    pytest.param(config(clusters=["c"]), None, "clusters", id="a-cluster-that-is-a-word"),
    pytest.param(config(kind="Pod"), None, "kind", id="another-kind"),
    pytest.param("[]\n", None, None, id="a-list"),
    pytest.param(config(cluster={"server": ""}), None, "server", id="no-server"),
    pytest.param(config(cluster={"server": "10.0.0.1:6443"}), None, "server", id="no-scheme"),
    pytest.param(config(cluster={"server": "file:///etc/passwd"}), None, "server", id="a-file"),
    pytest.param(config(cluster={"server": "https://u:p@10.0.0.1"}), None, "server", id="a-password-in-the-address"),
    pytest.param(config(cluster={"server": "http://10.0.0.1"}), None, "server", id="no-tls"),
    pytest.param(
        config(cluster={"insecure-skip-tls-verify": True}), None, "insecure-skip-tls-verify", id="no-verification"
    ),
    pytest.param(
        config(cluster={"insecure-skip-tls-verify": "yes"}), None, "insecure-skip-tls-verify", id="not-a-boolean"
    ),
    pytest.param(
        config(cluster={"certificate-authority-data": "%%"}), None, "certificate-authority-data", id="not-base64"
    ),
    pytest.param(config({"auth-provider": {"name": "gcp"}}), None, "auth-provider", id="auth-provider"),
    pytest.param(config({"username": "u", "password": "s3cret"}), None, "password", id="basic-auth"),
    pytest.param(config({"token": "s3cret", "as": "admin"}), None, "as", id="impersonation"),
    pytest.param(config({"token": 5}), None, "token", id="a-token-that-is-a-number"),
    pytest.param(config({"exec": {"command": "aws"}}), None, "exec.command", id="exec-not-allowed"),
    pytest.param(config({"exec": "aws"}), None, "exec", id="exec-of-another-shape"),
    pytest.param(config({"tokenFile": "/etc/passwd"}), None, "tokenFile", id="a-text-reads-no-token-file"),
    pytest.param(
        config(cluster={"certificate-authority-data": "", "certificate-authority": "/etc/passwd"}),
        None,
        "certificate-authority",
        id="a-text-reads-no-authority-file",
    ),
    pytest.param(
        config({"client-certificate-data": encoded("CERT")}), None, "client-certificate", id="certificate-without-key"
    ),
]


@pytest.mark.parametrize(("text", "context", "field"), REFUSED)
def test_what_is_wrong_is_named_and_secrets_are_not(text: str, context: str | None, field: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_kubeconfig(text, context)
    assert caught.value.where.get("field") == field
    assert caught.value.where["file"] == "kubeconfig"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: &a [x, x]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n", id="bomb"),
        pytest.param("kind: Config\nkind: Config\n", id="duplicate-key"),
        pytest.param("kind: Config\n---\nkind: Config\n", id="two-documents"),
        pytest.param("kind: !!python/object/apply:os.system [id]\n", id="a-python-object"),
        pytest.param("kind: [\n", id="broken"),
        pytest.param("kind: Config\n" + "#" * 2_000_000, id="too-large"),
    ],
)
def test_hostile_yaml_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_kubeconfig(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="absent"):
        read_kubeconfig(tmp_path / "absent")


def test_a_referenced_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_kubeconfig(written(tmp_path, config({"tokenFile": "gone"})))
    assert caught.value.where["field"] == "tokenFile"


def test_a_huge_file_is_refused_without_being_read_whole(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="larger"):
        read_kubeconfig(written(tmp_path, "#" * 5_000_000))


def test_an_insecure_cluster_needs_consent() -> None:
    access = read_kubeconfig(config(cluster={"insecure-skip-tls-verify": True}), allow_insecure=True)
    assert access.insecure
    assert read_kubeconfig(config(cluster={"server": "http://127.0.0.1:1"}), allow_insecure=True).insecure


def test_nothing_secret_is_printed() -> None:
    user = {"token": "s3cret", "client-certificate-data": encoded("C"), "client-key-data": encoded("s3cret-key")}
    access = read_kubeconfig(config(user, {"proxy-url": "http://u:s3cret@proxy"}))
    assert "s3cret" not in f"{access!r} {access} {access.model_dump_json()}"


def test_a_flattened_access_reads_back_the_same() -> None:
    access = SiteAccess(
        server=SERVER,
        ca_data=CA,
        token=SecretStr("t"),
        client_certificate="CERT",
        client_key=SecretStr("KEY"),
        tls_server_name="kubernetes",
        proxy=SecretStr("http://proxy:3128"),
    )
    assert read_kubeconfig(flatten(access, "site-0001")) == access


def test_a_flattened_insecure_access_stays_insecure() -> None:
    access = SiteAccess(server=SERVER, insecure=True)
    assert read_kubeconfig(flatten(access), allow_insecure=True) == access


def plugin(folder: Path, body: str) -> dict[str, Any]:
    """A plugin's entry that runs `body` in this Python."""
    script = folder / "plugin.py"
    script.write_text(f"import json, os, sys\n{body}\n")
    version = "client.authentication.k8s.io/v1"
    environment = [{"name": "PLUGIN_TOKEN", "value": "given"}]
    return {"exec": {"apiVersion": version, "command": sys.executable, "args": [str(script)], "env": environment}}


ANSWER = """
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
status = {"token": os.environ["PLUGIN_TOKEN"], "expirationTimestamp": "2030-01-01T00:00:00Z"}
print(json.dumps({"apiVersion": asked["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


def test_an_allowed_plugin_gives_the_token(tmp_path: Path) -> None:
    access = read_kubeconfig(config(plugin(tmp_path, ANSWER)), allow_exec=[sys.executable])
    assert access.token == SecretStr("given")
    assert access.expires is not None
    assert access.expires.year == 2030


def test_a_plugin_is_not_run_when_another_is_allowed(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    entry = plugin(tmp_path, f"open({str(trace)!r}, 'w').close()")
    with pytest.raises(InvalidInput, match="not allowed"):
        read_kubeconfig(config(entry), allow_exec=["python3", "aws"])
    assert not trace.exists()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("print('s3cret'); sys.exit(3)", id="failed"),
        pytest.param("print('s3cret is not JSON')", id="not-json"),
        pytest.param("print(json.dumps({'kind': 'ExecCredential', 'status': {'token': 's3cret'}}))", id="no-version"),
        pytest.param(ANSWER.replace('os.environ["PLUGIN_TOKEN"]', "''"), id="empty"),
        pytest.param(ANSWER.replace("00:00Z", "00:00"), id="expires-without-a-zone"),
    ],
)
def test_a_plugin_that_fails_is_an_error_without_its_output(tmp_path: Path, body: str) -> None:
    with pytest.raises(CredentialRejected) as caught:
        read_kubeconfig(config(plugin(tmp_path, body)), allow_exec=[sys.executable])
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__!r}"


def test_a_plugin_that_never_answers_is_ended_with_all_it_started(tmp_path: Path) -> None:
    child = "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"
    entry = plugin(tmp_path, child)["exec"]
    with pytest.raises(NotYet, match=r"within 0\.5 s"):
        run_plugin(entry, None, "kubeconfig", within_s=0.5)


def test_a_plugin_that_cannot_be_started_is_an_error() -> None:
    entry = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/no/such/plugin"}}
    with pytest.raises(CredentialRejected, match="cannot be started"):
        read_kubeconfig(config(entry), allow_exec=["/no/such/plugin"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("apiVersion", "client.authentication.k8s.io/v1alpha1", id="old-version"),
        pytest.param("args", "one", id="args-no-list"),
        pytest.param("env", [{"name": "x"}], id="env-without-value"),
    ],
)
def test_a_malformed_plugin_entry_is_named(tmp_path: Path, field: str, value: object) -> None:
    entry = plugin(tmp_path, ANSWER)
    entry["exec"][field] = value
    with pytest.raises(InvalidInput) as caught:
        read_kubeconfig(config(entry), allow_exec=[sys.executable])
    assert caught.value.where["field"] == f"exec.{field}"
