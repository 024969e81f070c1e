"""Reading a stamp's folder: what is taken in and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.clients.files import find_stamp, read_stamp_folder, read_text
from edge.errors import InvalidInput, NotFound


@pytest.fixture
def stamp(tmp_path: Path) -> Path:
    folder = tmp_path / "line"
    (folder / "base").mkdir(parents=True)
    (folder / "stamp.yaml").write_text("kind: Stamp\n")
    (folder / "base" / "app.yaml").write_text("kind: ConfigMap # ö\n")
    return folder


def test_files_are_keyed_by_their_path_below_the_folder(stamp: Path) -> None:
    source = read_stamp_folder(stamp)
    assert source.files == {"stamp.yaml": "kind: Stamp\n", "base/app.yaml": "kind: ConfigMap # ö\n"}
    assert source.origin == str(stamp)


def test_hidden_files_and_folders_are_left_out(stamp: Path) -> None:
    (stamp / ".git").mkdir()
    (stamp / ".git" / "config").write_text("secret")
    (stamp / ".DS_Store").write_bytes(b"\xff\xfe")
    assert set(read_stamp_folder(stamp).files) == {"stamp.yaml", "base/app.yaml"}


def test_line_ends_are_kept_as_they_are(stamp: Path) -> None:
    (stamp / "a.yaml").write_bytes(b"a: 1\r\nb: 2\r\n")
    assert read_stamp_folder(stamp).files["a.yaml"] == "a: 1\r\nb: 2\r\n"


def test_a_folder_without_a_stamp_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"stamp\.yaml"):
        read_stamp_folder(tmp_path)


def test_a_link_is_refused_even_to_a_file_beside_it(stamp: Path) -> None:
    (stamp / "passwd.yaml").symlink_to("stamp.yaml")
    with pytest.raises(InvalidInput, match="links"):
        read_stamp_folder(stamp)


def test_a_linked_folder_is_refused(stamp: Path, tmp_path: Path) -> None:
    (stamp / "etc").symlink_to(tmp_path)
    with pytest.raises(InvalidInput, match="links"):
        read_stamp_folder(stamp)


def test_a_pipe_is_refused_and_not_waited_for(stamp: Path) -> None:
    os.mkfifo(stamp / "pipe.yaml")
    with pytest.raises(InvalidInput, match="only files"):
        read_stamp_folder(stamp)


def test_bytes_that_are_no_text_are_refused_by_name(stamp: Path) -> None:
    (stamp / "image.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(InvalidInput) as caught:
        read_stamp_folder(stamp)
    assert caught.value.where["file"] == str(stamp / "image.png")


def test_a_huge_file_is_refused_by_name(stamp: Path) -> None:
    with (stamp / "huge.yaml").open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(InvalidInput, match=r"huge\.yaml"):
        read_stamp_folder(stamp)


def test_too_much_in_all_is_refused(stamp: Path) -> None:
    for number in range(25):
        (stamp / f"{number:03}.yaml").write_text("#" * 900_000)
    with pytest.raises(InvalidInput, match="at most 20000000 bytes"):
        read_stamp_folder(stamp)


def test_too_many_files_are_refused(stamp: Path) -> None:
    for number in range(1000):
        (stamp / f"{number}.yaml").touch()
    with pytest.raises(InvalidInput, match="at most 1000 files"):
        read_stamp_folder(stamp)


def test_folders_that_go_too_deep_are_refused(stamp: Path) -> None:
    (stamp / "/".join("d" * 20)).mkdir(parents=True)
    with pytest.raises(InvalidInput, match="deep"):
        read_stamp_folder(stamp)


def test_a_bare_name_is_looked_up_in_order(stamp: Path, tmp_path: Path) -> None:
    assert find_stamp("line", [tmp_path / "absent", tmp_path]) == stamp


def test_a_path_is_taken_as_it_is(stamp: Path) -> None:
    assert find_stamp(str(stamp), []) == stamp


@pytest.mark.parametrize("name", ["other", ""], ids=["absent", "empty"])
def test_a_name_that_nobody_has_says_where_was_looked(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        find_stamp(name, [tmp_path])
    assert caught.value.where["folders"] == str(tmp_path)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        read_text(tmp_path / "absent.yaml")
