"""A sans-IO TLS 1.2 connection on ``SSLObject`` and two ``MemoryBIO`` (crypto.md 5.9, 5.10).

Octets of the wire go in, events come out, :meth:`TlsConnection.output` holds what must be sent.
Time is an argument: handshake, idle and session limits are deadlines, not timers.

* A failed handshake leaves its fatal alert in the output before the connection ends; an alert
  outside the device's table is replaced by handshake_failure (40), so the peer sees only alerts
  of IF_GW_CON table 1.
* A peer that asks for renegotiation gets no_renegotiation (100) and the connection ends
  (IF_GW_CON A-1.2), whichever side it is.
* ``close_notify`` is answered; the transport must close within ``close_s``. A *held* connection
  (the legs of a CLS channel) tells it and answers only when it is told to, and after a farewell of
  its own it waits ``close_s`` for the peer's.
* A limit of payload octets (LMN) is checked before a write, so it is never exceeded.
* A :class:`Watcher` sees the plaintext handshake before libssl does and may refuse with an alert.
"""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.profiles import Tls as TlsLimits
from smgw_emu.transport.handshake import (
    ALERT,
    CLIENT_HELLO,
    SERVER_HELLO,
    ClientHello,
    HandshakeError,
    HandshakeReader,
    parse_client_hello,
    server_extensions,
)

_ALERT_LENGTH = 7
_HANDSHAKE_FAILURE = 40
_DECODE_ERROR = 50
_UNSUPPORTED_EXTENSION = 110
_RENEGOTIATION_INFO = 65281  # asked for by the signal in the suite list
_READ_SIZE = 65_536


class TlsEnd(StrEnum):
    """Why a connection ended."""

    PEER_CLOSED = "peer closed"
    HANDSHAKE_FAILED = "handshake failed"
    HANDSHAKE_TIMEOUT = "handshake not finished in time"
    PROTOCOL_ERROR = "protocol error"
    RENEGOTIATION = "renegotiation refused"
    IDLE = "idle too long"
    TOO_OLD = "session too long"
    VOLUME = "payload limit reached"
    LOCAL = "closed by us"


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is complete; ``certificate`` is the peer's in DER, or None."""

    certificate: bytes | None


@dataclass(frozen=True, slots=True)
class Data:
    """Decrypted octets."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is over: send :meth:`TlsConnection.output`, then close the transport."""

    reason: TlsEnd
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Farewell:
    """A held connection's peer has said close_notify: call :meth:`TlsConnection.farewell`."""


TlsEvent = Established | Data | Ended | Farewell


class Watcher:
    """Looks at the plaintext handshake; what a base watcher does not override lets it pass."""

    def message(self, kind: int, body: bytes, *, ours: bool) -> int | None:  # noqa: ARG002
        """See a handshake message; return the number of a fatal alert to refuse with."""
        return None

    def step(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which libssl takes its next handshake step."""
        return contextlib.nullcontext()


class TlsConnection:
    """One TLS connection.

    Args:
        context: from :mod:`smgw_emu.transport.presets`.
        limits: seconds for handshake, idleness, session; payload octets; allowed alerts.
        now: world time of the transport's connect.
        server_side: the own role.
        server_name: host name a client asks for (SNI), "" for none.
        watcher: sees the plaintext handshake.
        held: a farewell is not answered by itself.
    """

    __slots__ = (
        "_held",
        "_in",
        "_limits",
        "_out",
        "_reader",
        "_said",
        "_sent_reader",
        "_ssl",
        "_watcher",
        "established",
        "hello",
        "last_data",
        "opened",
        "over",
        "payload",
        "peer_closed",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        limits: TlsLimits,
        now: WorldTime,
        *,
        server_side: bool = True,
        server_name: str = "",
        watcher: Watcher | None = None,
        held: bool = False,
    ) -> None:
        self._held = held
        self._said: WorldTime | None = None
        self.peer_closed = False
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(
            self._in, self._out, server_side=server_side, server_hostname=server_name or None
        )
        self._limits = limits
        self._watcher = watcher
        self._reader: HandshakeReader | None = HandshakeReader()
        self._sent_reader = HandshakeReader()
        self.hello: ClientHello | None = None
        self.opened = self.last_data = now
        self.payload = 0
        self.established = False
        self.over = False

    def start(self, now: WorldTime) -> list[TlsEvent]:
        """Begin the handshake as a client."""
        event = self._handshake(now)
        return [] if event is None else [event]

    @property
    def version(self) -> str:
        """The negotiated protocol, "" before the handshake."""
        return self._ssl.version() or ""

    @property
    def suite(self) -> str:
        """The negotiated cipher suite in OpenSSL's spelling, "" before the handshake."""
        cipher = self._ssl.cipher()
        return cipher[0] if cipher else ""

    def output(self) -> bytes:
        """Return and forget what must be sent now."""
        return self._out.read()

    def receive(self, data: bytes, now: WorldTime) -> list[TlsEvent]:
        """Take octets from the wire; empty ``data`` is the transport's end of file."""
        if self.over:
            return []
        if not data:
            return [self._end(TlsEnd.PEER_CLOSED)]
        refused = self._inspect(data)
        if refused is not None:
            return [refused]
        self._in.write(data)
        events: list[TlsEvent] = []
        if not self.established:
            event = self._handshake(now)
            if event is None or isinstance(event, Ended):
                return [] if event is None else [event]
            events.append(event)
        return events + self._read(now)

    def send(self, data: bytes, now: WorldTime) -> list[TlsEvent]:
        """Encrypt octets into the output; at the payload limit the connection ends instead."""
        if not self.established or self.over or self._said is not None:
            return []
        limit = self._limits.max_octets
        if limit and self.payload + len(data) > limit:
            return self.close(TlsEnd.VOLUME)
        self.payload += len(data)
        self.last_data = now
        self._ssl.write(data)
        return []

    def close(self, reason: TlsEnd = TlsEnd.LOCAL) -> list[TlsEvent]:
        """Say close_notify and end."""
        if self.over:
            return []
        if self.established:
            self._say_goodbye()
        return [self._end(reason)]

    def farewell(self, now: WorldTime) -> list[TlsEvent]:
        """Say close_notify; the end comes with the peer's own, or ``close_s`` later."""
        if self.over or self._said is not None:
            return []
        if not self.established:
            return self.close()
        self._say_goodbye()
        self._said = now
        return [self._end(TlsEnd.LOCAL)] if self.peer_closed else []

    def next_deadline(self) -> WorldTime | None:
        """Return when :meth:`on_deadline` must be called."""
        if self.over:
            return None
        if self._said is not None:
            return self._said + self._limits.close_s * SECOND
        limits = self._limits
        if not self.established:
            return self.opened + limits.handshake_s * SECOND
        oldest = self.opened + limits.max_session_s * SECOND
        return min(self.last_data + limits.idle_s * SECOND, oldest) if limits.idle_s else oldest

    def on_deadline(self, now: WorldTime) -> list[TlsEvent]:
        """End the connection if a limit has been reached."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        if self._said is not None:
            return [self._end(TlsEnd.LOCAL, "no farewell from the peer")]
        if not self.established:
            return self.close(TlsEnd.HANDSHAKE_TIMEOUT)
        too_old = now - self.opened >= self._limits.max_session_s * SECOND
        return self.close(TlsEnd.TOO_OLD if too_old else TlsEnd.IDLE)

    # -- inner steps -----------------------------------------------------------------------

    def _inspect(self, data: bytes) -> Ended | None:
        """Show the plaintext handshake to the watcher before libssl sees it."""
        if self._reader is None:
            return None
        try:
            for kind, body in self._reader.receive(data):
                alert = self._look(kind, body)
                if alert is not None:
                    return self._refuse(alert)
        except HandshakeError:
            self._reader = None
            # libssl finds the right alert; a watcher that cannot look must not let it pass
            return None if self._watcher is None else self._refuse(_DECODE_ERROR)
        if self._reader.over:
            self._reader = None
        return None

    def _look(self, kind: int, body: bytes) -> int | None:
        if kind == SERVER_HELLO and self.hello is not None:
            # libssl lets unknown ones pass; truncated_hmac must not be accepted (TR-03116-3 4.2.2)
            offered = {*self.hello.extensions, _RENEGOTIATION_INFO}
            if not offered.issuperset(server_extensions(body)):
                return _UNSUPPORTED_EXTENSION
        if kind == CLIENT_HELLO and self.hello is None:
            with contextlib.suppress(HandshakeError):
                self.hello = parse_client_hello(body)
        if self._watcher is None:
            return None
        return self._watcher.message(kind, body, ours=False)

    def _refuse(self, alert: int) -> Ended:
        allowed = alert if alert in self._limits.alerts else _HANDSHAKE_FAILURE
        self._out.write(b"\x15\x03\x03\x00\x02\x02" + bytes((allowed,)))
        return self._end(TlsEnd.HANDSHAKE_FAILED, f"refused with alert {alert}")

    def _handshake(self, now: WorldTime) -> TlsEvent | None:
        try:
            with self._watcher.step() if self._watcher else contextlib.nullcontext():
                self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._show_own()
            return None
        except (ssl.SSLError, ValueError) as error:
            self._restrict_alert()
            return self._end(TlsEnd.HANDSHAKE_FAILED, getattr(error, "reason", None) or "")
        self.established = True
        self.opened = self.last_data = now
        return Established(self._ssl.getpeercert(binary_form=True))

    def _read(self, now: WorldTime) -> list[TlsEvent]:
        events: list[TlsEvent] = []
        unsent = self._out.pending  # the last flight of the handshake
        while True:
            try:
                data = self._ssl.read(_READ_SIZE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as error:
                return [*events, self._end(TlsEnd.PROTOCOL_ERROR, error.reason or "")]
            if not data:
                return events + self._peer_farewell()
            if self._said is not None:
                continue  # what comes after our farewell is nobody's
            self.last_data = now
            self.payload += len(data)
            events.append(Data(data))
            limit = self._limits.max_octets
            if limit and self.payload >= limit:
                return [*events, *self.close(TlsEnd.VOLUME)]
        if self._out.pending > unsent:
            # Reading only ever writes the refusal of a renegotiation.
            self._say_goodbye()
            events.append(self._end(TlsEnd.RENEGOTIATION))
        return events

    def _peer_farewell(self) -> list[TlsEvent]:
        """Take the peer's close_notify."""
        if self._said is not None:
            return [self._end(TlsEnd.LOCAL)]
        if self._held:
            told, self.peer_closed = self.peer_closed, True
            return [] if told else [Farewell()]
        self._say_goodbye()
        return [self._end(TlsEnd.PEER_CLOSED)]

    def _show_own(self) -> None:
        """Read our own first flight: a client's offer, and for the watcher its random number."""
        if self._sent_reader.over:
            return
        pending = self._out.read()
        self._out.write(pending)
        for kind, body in self._sent_reader.receive(pending):
            if kind == CLIENT_HELLO:
                self.hello = parse_client_hello(body)
            if self._watcher is not None:
                self._watcher.message(kind, body, ours=True)
        self._sent_reader.over = True

    def _say_goodbye(self) -> None:
        try:
            self._ssl.unwrap()
        except ssl.SSLError:
            return  # the peer's own close_notify is not waited for

    def _end(self, reason: TlsEnd, detail: str = "") -> Ended:
        self.over = True
        return Ended(reason, detail)

    def _restrict_alert(self) -> None:
        """Replace a plaintext alert the device never sends by handshake_failure."""
        pending = self._out.read()
        alert = pending[-_ALERT_LENGTH:]
        plain = len(alert) == _ALERT_LENGTH and alert[0] == ALERT
        if plain and alert[6] not in self._limits.alerts:
            pending = pending[:-1] + bytes((_HANDSHAKE_FAILURE,))
        self._out.write(pending)
