"""The asyncio shell around :mod:`~smgw_emu.transport.tls` and :mod:`~smgw_emu.transport.http`.

One protocol object per connection moves octets and deadlines; what a request means is the
handler's business. Limits keep a hostile peer cheap: a request must be complete within
``request_s``, an unread answer too; when the connection table is full, the oldest connection that
never got a good answer makes room.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

import structlog

from smgw_emu.core.errors import StoreError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.profiles import Profile
from smgw_emu.transport import tls
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.http import (
    BadRequest,
    HttpServer,
    NoMoreRequests,
    Request,
    Response,
    Session,
)
from smgw_emu.transport.protocol import TlsProtocol

_log = structlog.get_logger("han")

Handler = Callable[[Request, Session, WorldTime], Response | None]
"""(request, its connection, world time) -> answer; None: stay silent."""


class HttpsServer:
    """An HTTPS listener with the limits of a profile.

    Args:
        context: TLS context of the role.
        profile: TLS and HTTP limits.
        clock: world time.
        handler: answers requests.
        on_store_error: told when an answer failed because of the state store.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        profile: Profile,
        clock: Clock,
        handler: Handler,
        on_store_error: Callable[[StoreError], None],
    ) -> None:
        self.context = context
        self.profile = profile
        self.clock = clock
        self.handler = handler
        self.on_store_error = on_store_error
        self.connections: dict[_Connection, None] = {}
        self._server: asyncio.Server | None = None

    async def start(
        self, host: str = "", port: int = 0, *, listener: socket.socket | None = None
    ) -> tuple[str, int]:
        """Listen on an address or on a bound socket; returns the address really bound.

        Raises:
            OSError: the address is in use or not ours.
        """
        loop = asyncio.get_running_loop()
        if listener is not None:
            self._server = await loop.create_server(lambda: _Connection(self), sock=listener)
        else:
            self._server = await loop.create_server(lambda: _Connection(self), host, port)
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    def stop_listening(self) -> None:
        """Stop listening and end every connection with close_notify."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.shut()

    async def stop(self) -> None:
        """Stop listening, end every connection and let the sockets close."""
        self.stop_listening()
        await asyncio.sleep(0)

    def admit(self, connection: _Connection) -> None:
        """Register a connection; make room if the table is full."""
        if len(self.connections) >= self.profile.http.max_connections:
            strangers = (c for c in self.connections if not c.trusted)
            victim = next(strangers, next(iter(self.connections)))
            victim.abort()
        self.connections[connection] = None


class _Connection(TlsProtocol):
    """One client."""

    __slots__ = ("_http", "_paused", "_request_since", "_server", "_session", "trusted")

    def __init__(self, server: HttpsServer) -> None:
        limits, clock = server.profile.tls, server.clock
        connection = tls.TlsConnection(server.context, limits, clock.now())
        super().__init__(clock, connection, limits.close_s)
        self._server = server
        self._http = HttpServer(server.profile.http)
        self._session = Session()
        self._request_since: WorldTime | None = None
        self._paused = False
        self.trusted = False

    # -- asyncio ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.admit(self)
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._handle(self.tls.receive(data, self._server.clock.now()))

    def eof_received(self) -> bool:
        self._handle(self.tls.receive(b"", self._server.clock.now()))
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's name
        self._server.connections.pop(self, None)
        self._lost()

    def pause_writing(self) -> None:
        self._paused = True
        self._request_since = self._server.clock.now()
        if self._transport is not None:
            self._transport.pause_reading()
        self._watch()

    def resume_writing(self) -> None:
        self._paused = False
        self._request_since = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._handle([])

    # -- ending ----------------------------------------------------------------------------

    def shut(self) -> None:
        """End with close_notify."""
        self._handle(self.tls.close())

    # -- work ------------------------------------------------------------------------------

    def _handle(self, events: list[tls.TlsEvent]) -> None:
        for event in events:
            if isinstance(event, tls.Established):
                self._session.certificate = event.certificate
            elif isinstance(event, tls.Data):
                self._http.receive(event.data)
        self._answer()
        self._flush()
        if events and isinstance(events[0], tls.Established | tls.Ended) and self.tls.hello:
            _log.debug("client hello", **self.tls.hello.describe())
        if events and isinstance(events[-1], tls.Ended):
            _log.debug("connection ended", reason=events[-1].reason, detail=events[-1].detail)
            self._close()
        self._watch()

    def _answer(self) -> None:
        """Answer every complete request, one by one."""
        now = self._server.clock.now()
        while self.tls.established and not self.tls.over and not self._paused:
            event, out = self._http.next_event()
            if out:
                self.tls.send(out, now)
            if event is None:
                break
            if isinstance(event, NoMoreRequests):
                self.tls.close()
                self._flush()
                self._close()
                break
            if not self._respond(event, now):
                break
        if not self._paused:
            since = self._request_since
            self._request_since = (since or now) if self._http.busy else None

    def _respond(self, event: Request | BadRequest, now: WorldTime) -> bool:
        """Send one answer; returns whether the connection goes on."""
        head_only = False
        if isinstance(event, BadRequest):
            response: Response | None = event.response
        else:
            response = self._call_handler(event, now)
            head_only = event.method == "HEAD"
        if response is None:
            return False  # silent: neither answer nor end, limits will close it
        out, goes_on = self._http.respond(response, head_only=head_only)
        self.tls.send(out, now)
        self.trusted = self.trusted or response.status in {200, 307}
        if not goes_on:
            self.tls.close()
        self._flush()  # at once: a full transport pauses the next pipelined request
        if not goes_on:
            self._close()
        return goes_on

    def _call_handler(self, request: Request, now: WorldTime) -> Response | None:
        server = self._server
        try:
            return server.handler(request, self._session, now)
        except StoreError as error:
            server.on_store_error(error)
        except Exception:  # noqa: BLE001  # any fault of ours is a 500, never a dead server
            # the request itself stays out of the log: it may hold credentials
            _log.exception("request failed", method=request.method, path=request.path[:80])
        return Response(500, close=True)

    # -- deadlines -------------------------------------------------------------------------

    def _deadline(self) -> WorldTime | None:
        deadline = super()._deadline()
        if self._closing_at is None and self._request_since is not None:
            late = self._request_since + self._server.profile.http.request_s * SECOND
            return late if deadline is None else min(deadline, late)
        return deadline

    def _due(self, now: WorldTime) -> None:
        late = self._request_since is not None and self.tls.established
        if late and self._paused:
            self.abort()
            return
        self._handle(self.tls.close() if late else self.tls.on_deadline(now))
