"""HTTP on one TLS stream, either role: the server half answers, the client half asks.

Used where the HTTP role does not follow the TLS role: in the WAN the gateway opens every connection
and is HTTP server on one of them (TR-03109-1 v1.0 3.2.3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from smgw_emu.core.errors import RemoteProtocolError, SmgwError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.profiles import Http as HttpLimits
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.transport.http import (
    Answer,
    BadRequest,
    Headers,
    HttpClient,
    HttpServer,
    NoMoreRequests,
    Request,
    Response,
)
from smgw_emu.transport.stream import TlsStream
from smgw_emu.transport.tls import TlsEnd

_log = structlog.get_logger("web")


class PeerGoneError(SmgwError):
    """The connection ended before the answer came."""


class WebService:
    """The server half of one stream.

    Args:
        clock: world time.
        limits: of the HTTP server.
        handler: (request, its TLS client certificate) -> answer; None: stay silent.
        on_end: told why the stream ended.
    """

    def __init__(
        self,
        clock: Clock,
        limits: HttpLimits,
        handler: Callable[[Request, bytes | None], Response | None],
        on_end: Callable[[TlsEnd, str], None] = lambda _reason, _detail: None,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._http = HttpServer(limits)
        self._handler = handler
        self._on_end = on_end
        self._timer: Timer | None = None
        self._answering = self._silent = False
        self.requests = 0

    def established(self, stream: TlsStream) -> None:
        """Nothing to do until a request comes."""

    def received(self, stream: TlsStream, data: bytes) -> None:
        """Take octets and answer every complete request."""
        self._http.receive(data)
        self.pump(stream)

    def pump(self, stream: TlsStream) -> None:
        """Answer what is complete, unless the peer does not read."""
        if self._answering:
            return
        self._answering = True
        try:
            while not stream.paused and not stream.tls.over:
                event, out = self._http.next_event()
                if out:
                    stream.write(out)
                if event is None or self._silent:
                    break
                if isinstance(event, NoMoreRequests) or not self._respond(stream, event):
                    stream.close()
                    break
        finally:
            self._answering = False
        self._watch(stream)

    def _respond(self, stream: TlsStream, event: Request | BadRequest) -> bool:
        if isinstance(event, BadRequest):
            response = event.response
        else:
            self.requests += 1
            try:
                answer = self._handler(event, stream.certificate)
            except Exception:  # noqa: BLE001  # any fault of ours is a 500, never a dead channel
                _log.exception("request failed", method=event.method, path=event.path[:80])
                answer = Response(500, close=True)
            if answer is None:
                self._silent = True
                return True
            response = answer
        out, goes_on = self._http.respond(response)
        stream.write(out)
        return goes_on

    def _watch(self, stream: TlsStream) -> None:
        """A request that has begun must be complete in time."""
        if not self._http.busy or stream.tls.over:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None:
            due: WorldTime = self._clock.now() + self._limits.request_s * SECOND
            self._timer = self._clock.call_at(due, stream.close)

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:  # noqa: ARG002
        """Forget the stream."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_end(reason, detail)


class WebCaller:
    """The client half of one stream.

    Args:
        clock: world time.
        host: value of the Host header.
        answer_s: seconds an answer may take; then the connection ends (Anlage II 7.1.1).
        on_ready: told when the handshake is complete.
        on_end: told why the stream ended.
    """

    def __init__(
        self,
        clock: Clock,
        host: str,
        answer_s: int,
        on_ready: Callable[[WebCaller], None] = lambda _caller: None,
        on_end: Callable[[TlsEnd, str], None] = lambda _reason, _detail: None,
    ) -> None:
        self._clock = clock
        self._http = HttpClient(host)
        self._answer_s = answer_s
        self._on_ready = on_ready
        self._on_end = on_end
        self._waiting: Callable[[Answer | None], None] | None = None
        self._timer: Timer | None = None
        self._lock = asyncio.Lock()
        self.stream: TlsStream | None = None

    @property
    def open(self) -> bool:
        """Whether requests can be sent."""
        return self.stream is not None and not self.stream.tls.over and self._http.reusable

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._waiting is not None

    def established(self, stream: TlsStream) -> None:
        """The channel is up."""
        self.stream = stream
        self._on_ready(self)

    def send(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes,
        done: Callable[[Answer | None], None],
    ) -> None:
        """Send a request; ``done`` gets the answer, or None when the connection ended first."""
        stream = self.stream
        if stream is None or stream.tls.over or self._waiting is not None:
            raise PeerGoneError("the channel is not free")
        self._waiting = done
        due = self._clock.now() + self._answer_s * SECOND
        self._timer = self._clock.call_at(due, self._late)
        stream.write(self._http.request(method, target, headers, body))

    async def call(
        self, method: str, target: str, headers: Headers | None = None, body: bytes = b""
    ) -> Answer:
        """Send a request and wait for its answer; calls queue up.

        Raises:
            PeerGoneError: the connection ended.
        """
        async with self._lock:
            future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

            def done(answer: Answer | None) -> None:
                if not future.done():
                    future.set_result(answer)

            self.send(method, target, headers or [], body, done)
            answer = await future
        if answer is None:
            raise PeerGoneError(f"{method} {target[:120]}: the channel ended without an answer")
        return answer

    def received(self, stream: TlsStream, data: bytes) -> None:
        """Take octets of the answer."""
        try:
            answer = self._http.receive(data)
        except RemoteProtocolError as error:
            _log.warning("no answer", cause=str(error))
            stream.close()
            return
        if answer is not None:
            goes_on = self._http.reusable  # asked first: who waits may send the next request
            self._finish(answer)
            if not goes_on:
                stream.close()

    def close(self) -> None:
        """End the channel with close_notify."""
        if self.stream is not None:
            self.stream.close()

    def _late(self) -> None:
        if self.stream is not None:
            self.stream.close()

    def _finish(self, answer: Answer | None) -> None:
        waiting, self._waiting = self._waiting, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiting is not None:
            waiting(answer)

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:  # noqa: ARG002
        """Forget the stream; who waits learns it."""
        self.stream = None
        self._finish(None)
        self._on_end(reason, detail)
