"""uvicorn's HTTP protocol, with a connection that the weather can reset."""

from __future__ import annotations

import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTION = "edge.lab.connection"
"""The key in a scope's extensions under which the request's connection is found."""
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class LabProtocol(HttpToolsProtocol):
    """One client connection."""

    def on_message_begin(self) -> None:
        """Put a handle on this connection into the scope of each request."""
        super().on_message_begin()
        extensions: Any = {CONNECTION: self}
        self.scope["extensions"] = extensions

    def reset(self) -> None:
        """Send RST instead of an orderly end."""
        raw: socket.socket | None = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.transport.abort()
