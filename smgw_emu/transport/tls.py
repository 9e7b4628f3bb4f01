"""A sans-IO TLS server connection on ``SSLObject`` and two ``MemoryBIO`` (crypto.md 5.9, 5.10).

Octets of the wire go in, events come out, :meth:`TlsServer.output` holds what must be sent. Time
is an argument: the handshake, idle and session limits are deadlines, not timers.

* A failed handshake leaves its fatal alert in the output before the connection ends; an alert
  outside the device's table is replaced by handshake_failure (40), so the peer sees only alerts
  of IF_GW_CON table 1.
* A client that asks for renegotiation gets no_renegotiation (100) and the connection ends
  (IF_GW_CON A-1.2).
* ``close_notify`` is answered; the transport must close within ``close_s``.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import StrEnum

from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.profiles import Tls as TlsLimits

_ALERT_RECORD = b"\x15\x03"
_ALERT_LENGTH = 7
_HANDSHAKE_FAILURE = 40
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
    LOCAL = "closed by us"


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is complete; ``certificate`` is the client's in DER, or None."""

    certificate: bytes | None


@dataclass(frozen=True, slots=True)
class Data:
    """Decrypted octets."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is over: send :meth:`TlsServer.output`, then close the transport."""

    reason: TlsEnd
    detail: str = ""


TlsEvent = Established | Data | Ended


class TlsServer:
    """One TLS connection in the server's role.

    Args:
        context: from :func:`smgw_emu.transport.presets.server_context`.
        limits: seconds for handshake, idleness, session; allowed alerts.
        now: world time of the transport's connect.
    """

    __slots__ = ("_in", "_limits", "_out", "_ssl", "established", "last_data", "opened", "over")

    def __init__(self, context: ssl.SSLContext, limits: TlsLimits, now: WorldTime) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._in, self._out, server_side=True)
        self._limits = limits
        self.opened = self.last_data = now
        self.established = False
        self.over = False

    def output(self) -> bytes:
        """Return and forget what must be sent now."""
        return self._out.read()

    def receive(self, data: bytes, now: WorldTime) -> list[TlsEvent]:
        """Take octets from the wire; empty ``data`` is the transport's end of file."""
        if self.over:
            return []
        if not data:
            return [self._end(TlsEnd.PEER_CLOSED)]
        self._in.write(data)
        events: list[TlsEvent] = []
        if not self.established:
            event = self._handshake(now)
            if event is None or isinstance(event, Ended):
                return [] if event is None else [event]
            events.append(event)
        return events + self._read(now)

    def send(self, data: bytes, now: WorldTime) -> None:
        """Encrypt octets into the output."""
        if self.established and not self.over:
            self.last_data = now
            self._ssl.write(data)

    def close(self, reason: TlsEnd = TlsEnd.LOCAL) -> list[TlsEvent]:
        """Say close_notify and end."""
        if self.over:
            return []
        if self.established:
            self._say_goodbye()
        return [self._end(reason)]

    def next_deadline(self) -> WorldTime | None:
        """Return when :meth:`on_deadline` must be called."""
        if self.over:
            return None
        limits = self._limits
        if not self.established:
            return self.opened + limits.handshake_s * SECOND
        return min(
            self.last_data + limits.idle_s * SECOND, self.opened + limits.max_session_s * SECOND
        )

    def on_deadline(self, now: WorldTime) -> list[TlsEvent]:
        """End the connection if a limit has been reached."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        if not self.established:
            return self.close(TlsEnd.HANDSHAKE_TIMEOUT)
        too_old = now - self.opened >= self._limits.max_session_s * SECOND
        return self.close(TlsEnd.TOO_OLD if too_old else TlsEnd.IDLE)

    # -- inner steps -----------------------------------------------------------------------

    def _handshake(self, now: WorldTime) -> TlsEvent | None:
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
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
                self._say_goodbye()
                return [*events, self._end(TlsEnd.PEER_CLOSED)]
            self.last_data = now
            events.append(Data(data))
        if self._out.pending > unsent:
            # Reading only ever writes the refusal of a renegotiation.
            self._say_goodbye()
            events.append(self._end(TlsEnd.RENEGOTIATION))
        return events

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
        plain = len(alert) == _ALERT_LENGTH and alert[:2] == _ALERT_RECORD
        if plain and alert[6] not in self._limits.alerts:
            pending = pending[:-1] + bytes((_HANDSHAKE_FAILURE,))
        self._out.write(pending)
