"""A TLS listener of a head-end: HTTP server for what gateways push, one handler for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from smgw_emu.profiles import Http as HttpLimits
from smgw_emu.profiles import Tls as TlsLimits
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.http import Request, Response
from smgw_emu.transport.presets import TlsContext
from smgw_emu.transport.stream import StreamHandler, TlsStream
from smgw_emu.transport.tls import TlsEnd
from smgw_emu.transport.watchers import PeerJudge
from smgw_emu.transport.web import WebService

Handler = Callable[[Request, bytes], Response | None]
"""(request, client certificate in DER) -> answer; None: stay silent."""


class PeerListener:
    """Listens for gateways.

    Args:
        clock: world time.
        context: server side; client certificates are judged by ``judge``.
        limits: of TLS.
        judge: leaf -> "" or why it is refused.
        handler: makes what runs on a connection.
        refused: told why a client was refused.
    """

    def __init__(
        self,
        clock: Clock,
        context: Callable[[], TlsContext],
        limits: TlsLimits,
        judge: Callable[[bytes], str],
        handler: Callable[[], StreamHandler],
        refused: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self._clock = clock
        self._context = context
        self._limits = limits
        self._judge = judge
        self._make = handler
        self._refused = refused
        self._server: asyncio.Server | None = None
        self.streams: dict[TlsStream, StreamHandler] = {}

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the address.

        Raises:
            OSError: it is in use.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._stream, host, port)
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    def _stream(self) -> TlsStream:
        judge = PeerJudge(self._judge)
        handler = _Watched(self, judge)
        return TlsStream(
            self._clock,
            self._context().context,
            self._limits,
            handler,
            server_side=True,
            watcher=lambda: judge,
        )

    def make(self) -> StreamHandler:
        """Return the handler of a new connection."""
        return self._make()

    def refused(self, reason: str) -> None:
        """Pass on why a client was refused."""
        self._refused(reason)

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for stream in tuple(self.streams):
            stream.close()
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Stop at once, without farewell: an outage."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for stream in tuple(self.streams):
            stream.abort()


class _Watched:
    """Keeps the listener's table and lets nobody in without a judged certificate."""

    def __init__(self, listener: PeerListener, judge: PeerJudge) -> None:
        self._listener = listener
        self._judge = judge
        self._inner: StreamHandler | None = None

    def established(self, stream: TlsStream) -> None:
        if stream.certificate is None:
            self._listener.refused("no certificate")
            stream.close()
            return
        self._inner = self._listener.make()
        self._listener.streams[stream] = self._inner
        self._inner.established(stream)

    def received(self, stream: TlsStream, data: bytes) -> None:
        if self._inner is not None:
            self._inner.received(stream, data)

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:
        self._listener.streams.pop(stream, None)
        if self._inner is not None:
            self._inner.ended(stream, reason, detail)
        elif self._judge.reason:
            self._listener.refused(self._judge.reason)


def web_handler(clock: Clock, limits: HttpLimits, handler: Handler) -> StreamHandler:
    """Return an HTTP server for one connection."""
    return WebService(
        clock, limits, lambda request, certificate: handler(request, certificate or b"")
    )
