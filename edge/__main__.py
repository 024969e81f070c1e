"""`python -m edge` is the `edge` command."""

from __future__ import annotations

from edge.cli.main import main

main()
