"""Passing a channel on to a TCP address: any server or client may stand at its end."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from smgw_emu.transport.stream import TlsStream
from smgw_emu.transport.tls import TlsEnd

_log = structlog.get_logger("forward")


class Forward:
    """Connects to a TCP server when the channel stands, and relays.

    Args:
        host, port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._early = b""
        self._far: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def established(self, stream: TlsStream) -> None:
        """Connect."""
        self._task = asyncio.get_running_loop().create_task(self._connect(stream))

    async def _connect(self, stream: TlsStream) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_connection(
                lambda: _Far(stream), self._host, self._port
            )
        except OSError as error:
            _log.warning("nobody is there", to=f"{self._host}:{self._port}", cause=error.strerror)
            stream.close()
            return
        self._far = transport
        early, self._early = self._early, b""
        transport.write(early)
        if self._over:
            transport.close()

    def received(self, stream: TlsStream, data: bytes) -> None:  # noqa: ARG002
        """Pass octets on."""
        if self._far is None:
            self._early += data
        else:
            self._far.write(data)

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:  # noqa: ARG002
        """Close the far end."""
        self._over = True
        if self._far is not None:
            self._far.close()


class _Far(asyncio.Protocol):
    """The TCP server's side."""

    def __init__(self, stream: TlsStream) -> None:
        self._stream = stream

    def data_received(self, data: bytes) -> None:
        self._stream.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        with contextlib.suppress(RuntimeError):
            self._stream.close()
