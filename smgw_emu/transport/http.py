"""Sans-IO HTTP/1.1 connections on h11, both roles, with limits and the device's refusals.

IF_GW_CON documents few status codes, so everything that cannot be read as a request is answered
400 and the connection ends ("Es sind ungültige HTTP-Header-Informationen übermittelt worden").
"""

from __future__ import annotations

from dataclasses import dataclass, field

import h11

from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError
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
            return self._refuse(error.error_status_hint, str(error)), out

    def _refuse(self, status: int, reason: str) -> BadRequest:
        """Refuse what cannot be read as a request: always 400, or by name."""
        named = self._limits.status_codes == "named"
        return BadRequest(reason, Response(status, close=True) if named else _BAD)

    def _collect(self, event: object) -> Request | BadRequest | None:
        if isinstance(event, h11.Request):
            self._head, self._body = event, []
            # h11 bounds only what is incomplete; the limit must not depend on the chunking
            refused = self._check_head(event)
            if refused is not None:
                return refused
            if self._limits.require_content_length:
                names = {name for name, _ in event.headers}
                if b"transfer-encoding" in names:
                    return self._refuse(411, "chunked request")
                if event.method == b"POST" and b"content-length" not in names:
                    return self._refuse(411, "no Content-Length")
        elif isinstance(event, h11.Data):
            self._body.append(bytes(event.data))
            if sum(map(len, self._body)) > self._limits.max_body:
                return self._refuse(413, "body too long")
        elif isinstance(event, h11.EndOfMessage) and self._head is not None:
            head, self._head = self._head, None
            return Request(
                head.method.decode("latin-1"),
                head.target.decode("latin-1"),
                {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
                b"".join(self._body),
            )
        return None

    def _check_head(self, head: h11.Request) -> BadRequest | None:
        limits = self._limits
        if limits.max_uri and len(head.target) > limits.max_uri:
            return self._refuse(414, "target too long")
        lengths = [len(name) + len(value) + 4 for name, value in head.headers]
        if len(head.target) + sum(lengths) > limits.max_header:
            return self._refuse(431, "header too long")
        if limits.max_field and max(lengths, default=0) > limits.max_field:
            return self._refuse(431, "header field too long")
        if limits.status_codes == "named":
            if head.http_version != b"1.1":
                return self._refuse(505, "HTTP version not supported")
            length = dict(head.headers).get(b"content-length", b"0")
            if int(length) > limits.max_body:  # refused before the body comes
                return self._refuse(413, "body too long")
        return None

    def respond(self, response: Response, *, head_only: bool = False) -> tuple[bytes, bool]:
        """Return the octets of a response and whether the connection goes on.

        Raises:
            LocalProtocolError: no request waits for a response.
        """
        connection = self._connection
        if connection.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            raise LocalProtocolError("no request waits for a response")
        headers = list(response.headers)
        if response.status != 204:  # Anlage II table 12: the header is missing then
            headers.append(("content-length", str(len(response.body))))
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


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as a client received it; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """One HTTP connection in the client's role: one request at a time (no pipelining).

    Args:
        host: value of the Host header.
        max_header, max_body: octets of an answer.
    """

    __slots__ = ("_body", "_connection", "_head", "_host", "_max_body")

    def __init__(self, host: str, *, max_header: int = 8500, max_body: int = 16 << 20) -> None:
        self._host = host
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=max_header)
        self._head: h11.Response | None = None
        self._body: list[bytes] = []
        self._max_body = max_body

    def request(
        self, method: str, target: str, headers: Headers | None = None, body: bytes = b""
    ) -> bytes:
        """Return the octets of a request.

        Raises:
            LocalProtocolError: the last one has no answer yet, or the arguments are no request.
        """
        if self._connection.our_state is not h11.IDLE:
            raise LocalProtocolError("one request at a time")
        fields = [("Host", self._host), *(headers or [])]
        if body or method in {"PUT", "POST"}:
            fields.append(("Content-Length", str(len(body))))
        try:
            out = self._connection.send(h11.Request(method=method, target=target, headers=fields))
        except h11.LocalProtocolError as error:
            raise LocalProtocolError(str(error)) from error
        out = (out or b"") + (self._connection.send(h11.Data(data=body)) or b"" if body else b"")
        return out + (self._connection.send(h11.EndOfMessage()) or b"")

    def receive(self, data: bytes) -> Answer | None:
        """Take octets; returns the answer when it is complete.

        Raises:
            RemoteProtocolError: not an answer, or beyond the limits.
        """
        try:
            self._connection.receive_data(data)
            while True:
                event = self._connection.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return None
                if isinstance(event, h11.ConnectionClosed):
                    raise RemoteProtocolError("the connection ended without an answer")
                if isinstance(event, h11.Response):
                    self._head, self._body = event, []
                elif isinstance(event, h11.Data):
                    self._body.append(bytes(event.data))
                    if sum(map(len, self._body)) > self._max_body:
                        raise RemoteProtocolError("answer too long")
                elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                    return self._complete(self._head)
        except h11.RemoteProtocolError as error:
            raise RemoteProtocolError(f"not an HTTP answer: {error}") from error

    def _complete(self, head: h11.Response) -> Answer:
        states = self._connection.states
        if states[h11.SERVER] is h11.DONE and states[h11.CLIENT] is h11.DONE:
            self._connection.start_next_cycle()
        self._head = None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        return Answer(head.status_code, headers, b"".join(self._body))

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on this connection."""
        return self._connection.our_state is h11.IDLE


# Header names leave in the spelling of the RFCs: simple clients compare them literally.
_SPELLING = {"www-authenticate": "WWW-Authenticate"}
_REASONS = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable",
    422: "Unprocessable Entity",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


def _reason(response: Response) -> bytes:
    return _REASONS.get(response.status, "").encode("ascii")
