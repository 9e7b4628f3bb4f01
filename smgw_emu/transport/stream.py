"""The asyncio shell around one TLS connection, for either role: octets, deadlines, back-pressure.

What the octets mean is the handler's business. Used where no HTTP server is needed: NTP in TLS, the
counterparts of the bench, outbound channels.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

from smgw_emu.core.instants import WorldTime
from smgw_emu.profiles import Tls as TlsLimits
from smgw_emu.transport import tls
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.protocol import TlsProtocol


class StreamHandler(Protocol):
    """Who uses a stream."""

    def established(self, stream: TlsStream) -> None:
        """The handshake is complete."""

    def received(self, stream: TlsStream, data: bytes) -> None:
        """Payload has arrived."""

    def ended(self, stream: TlsStream, reason: tls.TlsEnd, detail: str) -> None:
        """The connection is over; called once."""


class TlsStream(TlsProtocol):
    """One connection.

    Args:
        clock: world time.
        context: from :mod:`smgw_emu.transport.presets`.
        limits: of the interface.
        handler: who uses it.
        server_side: the own role.
        server_name: SNI of a client.
        watcher: makes the watcher of this handshake.
    """

    __slots__ = ("_handler", "_server_side", "_told", "certificate", "paused")

    def __init__(
        self,
        clock: Clock,
        context: ssl.SSLContext,
        limits: TlsLimits,
        handler: StreamHandler,
        *,
        server_side: bool = False,
        server_name: str = "",
        watcher: Callable[[], tls.Watcher | None] = lambda: None,
    ) -> None:
        connection = tls.TlsConnection(
            context,
            limits,
            clock.now(),
            server_side=server_side,
            server_name=server_name,
            watcher=watcher(),
        )
        super().__init__(clock, connection, limits.close_s)
        self._handler = handler
        self._server_side = server_side
        self.certificate: bytes | None = None
        self._told = False
        self.paused = False

    # -- asyncio ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._handle([] if self._server_side else self.tls.start(self._clock.now()))

    def data_received(self, data: bytes) -> None:
        """Take octets of the wire."""
        self._handle(self.tls.receive(data, self._clock.now()))

    def eof_received(self) -> bool:
        """Take the end of the wire."""
        self._handle(self.tls.receive(b"", self._clock.now()))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the handler, if it does not know yet."""
        self._lost()
        self._tell(tls.TlsEnd.PEER_CLOSED, str(exc or ""))

    def pause_writing(self) -> None:
        """Stop reading while the peer does not read (back-pressure)."""
        self.paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        self.paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # -- use -------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send payload."""
        self._handle(self.tls.send(data, self._clock.now()))

    def close(self) -> None:
        """End with close_notify."""
        self._handle(self.tls.close())

    # -- inner steps -----------------------------------------------------------------------

    def _handle(self, events: list[tls.TlsEvent]) -> None:
        self._flush()
        for event in events:
            if isinstance(event, tls.Established):
                self.certificate = event.certificate
                self._handler.established(self)
            elif isinstance(event, tls.Data):
                self._handler.received(self, event.data)
            elif isinstance(event, tls.Ended):
                self._flush()
                self._close()
                self._tell(event.reason, event.detail)
        self._flush()
        self._watch()

    def _tell(self, reason: tls.TlsEnd, detail: str) -> None:
        if not self._told:
            self._told = True
            self._handler.ended(self, reason, detail)

    def _due(self, now: WorldTime) -> None:
        self._handle(self.tls.on_deadline(now))
