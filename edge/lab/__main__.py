"""`python -m edge.lab CONFIG [FD]`: the process behind `edge lab up`.

CONFIG is a LabConfig as JSON. On the pipe FD it writes one line of JSON: that the lab is ready, or the error that kept
it from starting.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import orjson

from edge.errors import EdgeError, InvalidInput
from edge.lab.layout import LabConfig, Layout
from edge.lab.run import Lab, claimed, raise_file_limit


def main(config_json: str, pipe: int | None) -> int:
    """Run a lab until it is told to stop. Returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = LabConfig.model_validate_json(config_json)

    def tell(said: dict[str, Any]) -> None:
        if pipe is not None:
            os.write(pipe, orjson.dumps(said) + b"\n")
            os.close(pipe)

    try:
        with claimed(Layout(config.state)):
            raise_file_limit()
            lab = Lab(config)
            lab.serve(lambda _: _unless_left(lambda: tell({"ready": True}), lab))
    except EdgeError as error:
        logging.getLogger(__name__).error("%s", error)
        wrong = isinstance(error, InvalidInput)
        tell({"error": error.what, "where": error.where, "remedy": error.remedy, "input": wrong})
        return 2 if wrong else 1
    return 0


def _unless_left(tell: Callable[[], None], lab: Lab) -> None:
    """Say that it is ready; end when whoever started it did not wait, since nobody would know of it."""
    try:
        tell()
    except BrokenPipeError:
        logging.getLogger(__name__).error("whoever started this lab is gone, so it ends")
        lab.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None))
