"""What commands print."""

from __future__ import annotations

import io

from rich.console import Console

from edge.cli.output import plain, table

CLEARS_THE_SCREEN = "SN-1\x1b[2J\x9b1A\r\nnext"


def test_what_a_device_says_does_not_steer_the_terminal() -> None:
    shown = io.StringIO()
    Console(file=shown, width=60).print(table("Devices", ("serial",), [[CLEARS_THE_SCREEN]]))
    assert "SN-1\\x1b[2J\\x9b1A\\r" in shown.getvalue()
    assert "next" in shown.getvalue()
    assert not {"\x1b", "\x9b", "\r"} & set(shown.getvalue())


def test_text_without_control_characters_is_left_as_it_is() -> None:
    assert plain("Gerät 1\n\tline 2") == "Gerät 1\n\tline 2"
