"""What the platform on one machine writes down for the shell of who started it."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

from deployments.local.platform import exports, write_private


def test_a_shell_reads_the_environment_back_whatever_is_in_it(tmp_path: Path) -> None:
    value = 'it\'s $HOME `id`; "a b"'
    file = tmp_path / "env.sh"
    write_private(file, exports({"EDGE_A": value, "EDGE_B": "plain"}))
    said = subprocess.run(
        ["/bin/sh", "-c", f'. {file} && printf "%s|%s" "$EDGE_A" "$EDGE_B"'], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"{value}|plain"


def test_what_is_private_is_only_its_owners_and_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "env.sh"
    file.write_text("old and longer")
    write_private(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
