"""A sans-IO HTTP/1.1 server connection on h11, with limits and the device's refusals.

IF_GW_CON documents few status codes, so everything that cannot be read as a request is answered
400 and the connection ends ("Es sind ungültige HTTP-Header-Informationen übermittelt worden").
"""

from __future__ import annotations

from dataclasses import dataclass, field

import h11

from smgw_emu.core.errors import LocalProtocolError
from smgw_emu.profiles import Http as HttpLimits

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class Session:
    """What is known about one connection.

    Attributes:
        certificate: the client's certificate in DER, None without one.
        user: who was last logged in on it, for the access log.
        failures: refused logins on it.
    """

    certificate: bytes | None = None
    user: str = ""
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A complete request; header names in lower case, ``target`` as sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Response:
    """A response; ``close`` ends the connection after it."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)
    close: bool = False


@dataclass(frozen=True, slots=True)
class BadRequest:
    """The peer sent no acceptable request; ``response`` is what it gets, then the end."""

    reason: str
    response: Response


@dataclass(frozen=True, slots=True)
class NoMoreRequests:
    """The peer will send nothing more, or asked for the connection to end."""


HttpEvent = Request | BadRequest | NoMoreRequests

_BAD = Response(400, close=True)


class HttpServer:
    """One HTTP connection in the server's role; requests are answered strictly one by one."""

    __slots__ = ("_body", "_connection", "_head", "_limits")

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.max_header)
        self._head: h11.Request | None = None
        self._body: list[bytes] = []

    def receive(self, data: bytes) -> None:
        """Take octets; empty ``data`` means the peer will send no more."""
        try:
            self._connection.receive_data(data)
        except h11.RemoteProtocolError:
            return  # data after the end of a closed exchange: next_event tells

    @property
    def busy(self) -> bool:
        """Whether a request has begun and is not complete."""
        connection = self._connection
        return self._head is not None or bool(connection.trailing_data[0])

    def next_event(self) -> tuple[HttpEvent | None, bytes]:
        """Return the next event (None: wait for more) and octets to send meanwhile (100-continue).

        After a request, call :meth:`respond` before asking again.
        """
        connection = self._connection
        out = b""
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    if connection.they_are_waiting_for_100_continue:
                        reply = h11.InformationalResponse(status_code=100, headers=[])
                        out += connection.send(reply) or b""
                    return None, out
                if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    return NoMoreRequests(), out
                request = self._collect(event)
                if request is not None:
                    return request, out
        except h11.RemoteProtocolError as error:
            return BadRequest(str(error), _BAD), out

    def _collect(self, event: object) -> Request | BadRequest | None:
        if isinstance(event, h11.Request):
            self._head, self._body = event, []
            # h11 bounds only what is incomplete; the limit must not depend on the chunking
            size = len(event.target) + sum(len(k) + len(v) + 4 for k, v in event.headers)
            if size > self._limits.max_header:
                return BadRequest("header too long", _BAD)
            if self._limits.require_content_length:
                names = {name for name, _ in event.headers}
                if b"transfer-encoding" in names:
                    return BadRequest("chunked request", _BAD)
                if event.method == b"POST" and b"content-length" not in names:
                    return BadRequest("no Content-Length", _BAD)
        elif isinstance(event, h11.Data):
            self._body.append(bytes(event.data))
            if sum(map(len, self._body)) > self._limits.max_body:
                return BadRequest("body too long", _BAD)
        elif isinstance(event, h11.EndOfMessage) and self._head is not None:
            head, self._head = self._head, None
            return Request(
                head.method.decode("latin-1"),
                head.target.decode("latin-1"),
                {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
                b"".join(self._body),
            )
        return None

    def respond(self, response: Response, *, head_only: bool = False) -> tuple[bytes, bool]:
        """Return the octets of a response and whether the connection goes on.

        Raises:
            LocalProtocolError: no request waits for a response.
        """
        connection = self._connection
        if connection.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            raise LocalProtocolError("no request waits for a response")
        headers = [*response.headers, ("content-length", str(len(response.body)))]
        if response.close:
            headers.append(("connection", "close"))
        spelled = [(_SPELLING.get(name, name.title()), value) for name, value in headers]
        head = h11.Response(status_code=response.status, headers=spelled, reason=_reason(response))
        out = connection.send(head) or b""
        if response.body and not head_only:
            out += connection.send(h11.Data(data=response.body)) or b""
        out += connection.send(h11.EndOfMessage()) or b""
        states = connection.states
        if states[h11.SERVER] is h11.DONE and states[h11.CLIENT] is h11.DONE:
            connection.start_next_cycle()
            return out, True
        return out, False


# Header names leave in the spelling of the RFCs: simple clients compare them literally.
_SPELLING = {"www-authenticate": "WWW-Authenticate"}
_REASONS = {
    200: "OK",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
}


def _reason(response: Response) -> bytes:
    return _REASONS.get(response.status, "").encode("ascii")
