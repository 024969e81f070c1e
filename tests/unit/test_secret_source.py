"""Secrets out of a folder, as Kubernetes mounts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks.secrets import SecretSource
from edge.errors import InvalidInput, NotFound
from edge.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets" / "plc").mkdir(parents=True)
    return tmp_path / "secrets"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param(b"hunter2", "hunter2", id="as it is"),
        pytest.param(b"hunter2\n", "hunter2", id="an editor's line break"),
        pytest.param(b"hunter2\r\n", "hunter2", id="Windows' line break"),
        pytest.param(b" pass word ", " pass word ", id="blanks are part of it"),
        pytest.param(b"one\ntwo\n", "one\ntwo\n", id="several lines stay"),
    ],
)
def test_a_secret_is_read(folder: Path, written: bytes, read: str) -> None:
    (folder / "plc" / "password").write_bytes(written)
    assert SecretSource(folder=folder).value("plc/password") == read


def test_a_mount_of_kubernetes_is_read_through_its_links(folder: Path) -> None:
    data = folder / "plc" / "..2026_01_01"
    data.mkdir()
    (data / "password").write_text("hunter2")
    (folder / "plc" / "..data").symlink_to(data.name)
    (folder / "plc" / "password").symlink_to("..data/password")
    assert SecretSource(folder=folder).value("plc/password") == "hunter2"


def test_a_secret_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(NotFound, match="no such secret") as caught:
        SecretSource(folder=folder).value("plc/token")
    assert caught.value.where["secret"] == "plc/token"


@pytest.mark.parametrize(
    "reference",
    ["", "plc", "plc/", "/plc/password", "../plc/password", "plc/..", "plc/../x", "plc/a/b", "a..b/c", "plc/a\n"],
)
def test_what_is_no_reference_is_refused(folder: Path, reference: str) -> None:
    with pytest.raises(InvalidInput, match="<name>/<key>"):
        SecretSource(folder=folder).value(reference)


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    (folder.parent / "elsewhere").write_text("not yours")
    (folder / "plc" / "password").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(InvalidInput, match="must lie in"):
        SecretSource(folder=folder).value("plc/password")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        pytest.param(b"\n", "empty", id="empty"),
        pytest.param(b"x" * 70_000, "larger", id="too large"),
        pytest.param(b"\xff\xfe", "UTF-8", id="no text"),
    ],
)
def test_a_file_that_cannot_be_a_secret_is_refused(folder: Path, written: bytes, why: str) -> None:
    (folder / "plc" / "password").write_bytes(written)
    with pytest.raises(InvalidInput, match=why):
        SecretSource(folder=folder).value("plc/password")


def test_the_environment_says_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("EDGE_SECRETS", str(folder))
    assert SecretSource.from_settings(Settings()).folder == folder
