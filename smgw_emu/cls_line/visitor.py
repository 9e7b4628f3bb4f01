"""A connection on the CLS port that has not named a profile yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cls_proxy.socks import Phase, Reply, Request
from smgw_emu.core.instants import SECOND
from smgw_emu.transport import tls
from smgw_emu.transport.clock import Timer
from smgw_emu.transport.handshake import ClientHello
from smgw_emu.transport.watchers import HelloGate, PeerJudge, Watchers

if TYPE_CHECKING:
    from smgw_emu.cls_line.leg import Leg
    from smgw_emu.cls_line.line import ClsLine

_UNRECOGNIZED_NAME = 112  # RFC 6066 3


class Visitor:
    """One of them.

    Args:
        line: whose.
        by_socks: it speaks SOCKS; otherwise TLS at once, and names a profile by SNI.

    Attributes:
        leg: its connection.
    """

    def __init__(self, line: ClsLine, *, by_socks: bool) -> None:
        self._line = line
        self.by_socks = by_socks
        self.leg: Leg | None = None
        self._judge = PeerJudge(line.registered)
        self._timer: Timer | None = None

    def watcher(self) -> tls.Watcher:
        """Return who looks at its handshake."""
        watchers: list[tls.Watcher] = [self._judge, self._line.valid()]
        if not self.by_socks:
            watchers.insert(0, HelloGate(self._gate))
        return Watchers(*watchers)

    def _gate(self, hello: ClientHello) -> int | None:
        return None if self._line.known_name(hello.server_name) else _UNRECOGNIZED_NAME

    def wait(self) -> None:
        """Begin to count: the request must be there in time."""
        clock, rules = self._line.clock, self._line.rules
        due = clock.now() + rules.request_s * SECOND
        self._timer = clock.call_at(due, self._too_late)

    def _too_late(self) -> None:
        self._timer = None
        self._over("no request in time")
        if self.leg is not None:
            if self.leg.tls.established:
                self.leg.farewell()
            else:
                self.leg.abort()

    def drop(self) -> None:
        """Make room."""
        self._over("")
        if self.leg is not None:
            self.leg.abort()

    def _over(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self in self._line.visitors:
            del self._line.visitors[self]
            if reason:
                self._line.reports.refused(self._judge.reason or reason)

    # -- leg -------------------------------------------------------------------------------

    def leg_up(self, leg: Leg) -> None:
        """TLS stands; without SOCKS the name was in its offer."""
        if not self.by_socks:
            hello = leg.tls.hello
            self._ask(Request(name=hello.server_name if hello is not None else ""))

    def leg_asked(self, leg: Leg, request: Request) -> None:  # noqa: ARG002  # one leg per visitor
        """The request has come."""
        self._ask(request)

    def _ask(self, request: Request) -> None:
        assert self.leg is not None
        leg, timer = self.leg, self._timer
        reply = self._line.named(self, request)
        if reply is Reply.OK:
            if timer is not None:
                timer.cancel()
            return
        self._over(f"{request.name or request.host}: {reply.name.lower().replace('_', ' ')}")
        leg.answer(reply)
        leg.farewell()

    def leg_data(self, leg: Leg, data: bytes) -> None:
        """Nothing to do with data before a profile is named."""

    def leg_farewell(self, leg: Leg) -> None:
        """It goes."""
        self._over("closed before a request" if leg.socks is None or not _asked(leg) else "")
        leg.farewell()

    def leg_paused(self, leg: Leg, *, paused: bool) -> None:
        """Handshakes are smaller than any buffer."""

    def leg_over(self, leg: Leg, reason: str) -> None:  # noqa: ARG002
        """It has gone, or broken the protocol."""
        self._over(reason)


def _asked(leg: Leg) -> bool:
    return leg.socks is not None and leg.socks.phase in {Phase.WAITING, Phase.FLOW}
