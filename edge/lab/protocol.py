"""uvicorn's HTTP protocol, with a connection that the weather can reset and answers that leave in one piece."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTION = "edge.lab.connection"
"""The key in a scope's extensions under which the request's connection is found."""
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class JoinedWrites(asyncio.Transport):
    """A transport that sends what is written within one turn of the event loop as one TLS record.

    Head and body of an answer are two writes. As two records they cost two system calls, a fifth of a whole GET.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._held: list[bytes | bytearray | memoryview] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send this, with what else is written in this turn."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Send what is held, then end."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """End at once; what is held is lost."""
        self._held.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether the connection is ending."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport below knows."""
        return self._transport.get_extra_info(name, default)

    def _flush(self) -> None:
        if self._held:
            held, self._held = b"".join(self._held), []
            self._transport.write(held)


class LabProtocol(HttpToolsProtocol):
    """One client connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin, with answers in one piece."""
        super().connection_made(transport)
        self.transport = JoinedWrites(transport, self.loop)

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
