"""One leg of a channel: TCP, perhaps SOCKS, TLS. Octets and events go to a handler.

Back-pressure: what cannot be written makes the handler stop the other leg's reading, so a leg
holds no more than the transport's high-water mark and one read.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from cls_proxy.socks import Asked, Reply, Request, SocksError, SocksServer, Wire
from smgw_emu.core.instants import WorldTime
from smgw_emu.transport import tls
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.protocol import TlsProtocol


class LegHandler(Protocol):
    """Who uses a leg."""

    def leg_up(self, leg: Leg) -> None:
        """TLS stands."""

    def leg_asked(self, leg: Leg, request: Request) -> None:
        """A CLS has asked for a channel in SOCKS."""

    def leg_data(self, leg: Leg, data: bytes) -> None:
        """Octets for the other leg."""

    def leg_farewell(self, leg: Leg) -> None:
        """The partner has said close_notify; it is answered by :meth:`Leg.farewell`."""

    def leg_paused(self, leg: Leg, *, paused: bool) -> None:
        """The leg cannot, or can again, take octets."""

    def leg_over(self, leg: Leg, reason: str) -> None:
        """The leg is over; called once."""


class Leg(TlsProtocol):
    """One leg.

    Args:
        clock: world time.
        connection: sans-IO TLS, held.
        close_s: seconds the transport may take after the end.
        handler: who uses it; may be exchanged.
        client: the gateway opens it.
        socks: the conversation around TLS, None for none.
    """

    __slots__ = ("_client", "_ended", "certificate", "handler", "socks")

    def __init__(
        self,
        clock: Clock,
        connection: tls.TlsConnection,
        close_s: int,
        handler: LegHandler,
        *,
        client: bool = False,
        socks: SocksServer | None = None,
    ) -> None:
        super().__init__(clock, connection, close_s)
        self._client = client
        self._ended = False
        self.handler = handler
        self.socks = socks
        self.certificate: bytes | None = None

    # -- asyncio ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._handle(self.tls.start(self._clock.now()) if self._client else [])

    def data_received(self, data: bytes) -> None:
        """Take octets of the wire."""
        if self.socks is None:
            self._handle(self.tls.receive(data, self._clock.now()))
            return
        try:
            items = self.socks.receive(data)
        except SocksError as error:
            self._send_raw(self.socks.refusal())
            self._fail(str(error))
            return
        for item in items:
            if isinstance(item, Wire):
                self._send_raw(item.data)
            else:
                self._handle(self.tls.receive(item.data, self._clock.now()))

    def eof_received(self) -> bool:
        """Take the end of the wire."""
        self._handle(self.tls.receive(b"", self._clock.now()))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the handler, if it does not know yet."""
        self._lost()
        self._tell(str(exc or "connection lost"))

    def pause_writing(self) -> None:
        """The partner does not read."""
        self.handler.leg_paused(self, paused=True)

    def resume_writing(self) -> None:
        """It reads again."""
        self.handler.leg_paused(self, paused=False)

    # -- use -------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send octets."""
        self._handle(self.tls.send(data, self._clock.now()))

    def answer(self, reply: Reply) -> None:
        """Answer a CLS that has asked in SOCKS; nothing to do without SOCKS."""
        if self.socks is not None:
            self.send(self.socks.answered(reply))

    def farewell(self) -> None:
        """Say close_notify, or answer it."""
        if self.socks is not None:
            self.socks.closing()
        self._handle(self.tls.farewell(self._clock.now()))

    def shut(self) -> None:
        """Say close_notify and close."""
        if self.socks is not None:
            self.socks.closing()
        self._handle(self.tls.close())

    def read(self, *, on: bool) -> None:
        """Go on reading, or stop."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if on:
            transport.resume_reading()
        else:
            transport.pause_reading()

    @property
    def waiting(self) -> int:
        """Octets that are written but not sent."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    # -- inner steps -----------------------------------------------------------------------

    def _send_raw(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _flush(self) -> None:
        out = self.tls.output()
        if out:
            self._send_raw(out if self.socks is None else self.socks.wrap(out))

    def _handle(self, events: list[tls.TlsEvent]) -> None:
        self._flush()
        for event in events:
            if isinstance(event, tls.Data):
                self._data(event.data)
            elif isinstance(event, tls.Established):
                self.certificate = event.certificate
                if self.socks is not None:
                    self.socks.established()
                self.handler.leg_up(self)
            elif isinstance(event, tls.Farewell):
                self.handler.leg_farewell(self)
            else:
                self._flush()
                self._close()
                self._tell(f"{event.reason}: {event.detail}" if event.detail else event.reason)
        self._watch()

    def _data(self, data: bytes) -> None:
        if self.socks is None:
            self.handler.leg_data(self, data)
            return
        try:
            items = self.socks.decrypted(data)
        except SocksError as error:
            self.answer(error.reply)
            self.farewell()
            self._tell(str(error))
            return
        for item in items:
            if isinstance(item, Asked):
                self.handler.leg_asked(self, item.request)
            else:
                self.handler.leg_data(self, item.data)

    def _fail(self, reason: str) -> None:
        """End at once: what TLS would still say cannot be framed."""
        self.tls.close()
        self.tls.output()
        self._close()
        self._tell(reason)

    def _tell(self, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self.handler.leg_over(self, reason)

    def _due(self, now: WorldTime) -> None:
        self._handle(self.tls.on_deadline(now))
