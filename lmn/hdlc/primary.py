"""The gateway's link to one meter: ISO 13239 normal response mode, modulo 8, window 1.

Theory of operation (DS v2.0 8.1; ``lmn-wired.md`` 1.2). The meter speaks only when it is asked. The
bus gives the link a *turn*: :meth:`PrimaryLink.turn` returns the command to send, and then either
:meth:`PrimaryLink.answer` brings the meter's frame or :meth:`PrimaryLink.silence` tells that
nothing usable came.

* A connection begins with SNRM and the meter's UA; V(S) and V(R) are 0 then. It ends with DISC and
  UA, or with DM: whatever was on the way is lost, and who uses the link begins anew.
* One I frame is on the way at a time. When its answer is lost, an RR asks; the meter's N(R) says
  whether the I frame arrived, and it is repeated only if it did not. So nothing arrives twice.
* An I frame of the meter with another N(S) than V(R) is a repetition: its information is dropped,
  its N(R) counts.
* A frame with an N(R) that cannot be, or FRMR, ends the connection.
* While something is awaited the link polls with RR; after :attr:`LmnBus.polls` empty answers
  slowly.

:data:`TABLE` says what each answer does. Without an answer a command is repeated
:attr:`LmnBus.retries` times, then the link is given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from lmn.hdlc.frame import Frame, Kind, control
from smgw_emu.core.errors import LocalProtocolError
from smgw_emu.core.instants import MILLISECOND, WorldTime
from smgw_emu.profiles import LmnBus


class LinkState(StrEnum):
    """State of a connection."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"


@dataclass(frozen=True, slots=True)
class Opened:
    """The meter has accepted the connection to ``sap``."""

    sap: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """Information of an I frame, in order and once; ``at``: its first octet."""

    data: bytes
    at: WorldTime


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is gone, with what was on the way."""

    reason: str


@dataclass(frozen=True, slots=True)
class Strange:
    """A frame the state has no use for; it was ignored."""

    kind: Kind
    state: LinkState


LinkEvent = Opened | Arrived | Closed | Strange

MAX_QUEUE = 1 << 20  # own choice: octets waiting to be sent

TABLE: Mapping[tuple[LinkState, Kind], tuple[LinkState, str]] = MappingProxyType(
    {
        (LinkState.OPENING, Kind.UA): (LinkState.OPEN, "begin"),
        (LinkState.OPENING, Kind.DM): (LinkState.CLOSED, "refused"),
        (LinkState.OPEN, Kind.I): (LinkState.OPEN, "information"),
        (LinkState.OPEN, Kind.RR): (LinkState.OPEN, "ready"),
        (LinkState.OPEN, Kind.RNR): (LinkState.OPEN, "busy"),
        (LinkState.OPEN, Kind.DM): (LinkState.CLOSED, "dropped"),
        (LinkState.OPEN, Kind.FRMR): (LinkState.CLOSED, "rejected"),
        (LinkState.CLOSING, Kind.UA): (LinkState.CLOSED, "over"),
        (LinkState.CLOSING, Kind.DM): (LinkState.CLOSED, "over"),
    }
)
"""(state, answer) -> (state, step); what is not in it is strange and counts as no answer."""

_REASONS = MappingProxyType(
    {
        "refused": "the meter refuses the connection (DM)",
        "dropped": "the meter is disconnected (DM)",
        "rejected": "the meter rejects a frame (FRMR)",
        "over": "",
    }
)


class PrimaryLink:
    """The gateway's end.

    Args:
        address: of the meter.
        rules: own address, limits, pauses.

    Attributes:
        expecting: data of the meter are awaited, so it is polled.
    """

    def __init__(self, address: int, rules: LmnBus) -> None:
        self.address = address
        self._rules = rules
        self.state = LinkState.CLOSED
        self.sap = 0
        self.expecting = False
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._vs = self._vr = 0
        self._out: bytes | None = None  # sent, not acknowledged
        self._repeat = False  # the meter has not got it
        self._ask = False  # an answer was lost
        self._owed = False  # an I frame of the meter waits for its acknowledgement
        self._finish = False
        self._attempts = 0
        self._polls = 0
        self._not_before = WorldTime(0)

    # -- orders ----------------------------------------------------------------------------

    def open(self, sap: int) -> None:
        """Connect to a protocol; an open connection to another one is lost."""
        self._forget()
        self.state, self.sap = LinkState.OPENING, sap

    def close(self) -> None:
        """Disconnect, after what is queued has been acknowledged."""
        if self.state is LinkState.OPEN:
            self._finish, self.expecting = True, False
        elif self.state is LinkState.OPENING:
            self.state = LinkState.CLOSED

    def send(self, data: bytes) -> None:
        """Send octets, in pieces that fit.

        Raises:
            LocalProtocolError: not connected, or too much is waiting already.
        """
        if self.state is not LinkState.OPEN or self._finish or self._queued + len(data) > MAX_QUEUE:
            raise LocalProtocolError(f"cannot send {len(data)} octets: link {self.state}")
        self._queued += len(data)
        size = self._rules.send_information
        self._queue.extend(data[start : start + size] for start in range(0, len(data), size))

    # -- turns -----------------------------------------------------------------------------

    def wants(self) -> WorldTime | None:
        """Return from when on a turn would be used, None for no turn."""
        match self.state:
            case LinkState.CLOSED:
                return None
            case LinkState.OPENING | LinkState.CLOSING:
                return self._not_before
        if self._ask or self._repeat or (self._queue and self._out is None):
            return self._not_before
        if self.expecting or self._out is not None or self._owed or self._finish:
            return self._not_before
        return None

    def turn(self) -> Frame | None:
        """Return the command to send now."""
        match self.state:
            case LinkState.OPENING:
                return self._frame(control(Kind.SNRM))
            case LinkState.CLOSING:
                return self._frame(control(Kind.DISC))
            case LinkState.CLOSED:
                return None
        if self._finish and self._out is None and not self._queue:
            self._forget()
            self.state = LinkState.CLOSING
            return self._frame(control(Kind.DISC))
        if self._out is None and self._queue and not self._ask:
            self._out = self._queue.popleft()
            self._queued -= len(self._out)
            self._repeat = True
        self._owed = False
        if self._repeat and not self._ask:
            assert self._out is not None
            return self._frame(control(Kind.I, nr=self._vr, ns=self._vs), self._out)
        return self._frame(control(Kind.RR, nr=self._vr))

    def answer(self, frame: Frame, at: WorldTime, now: WorldTime) -> list[LinkEvent]:
        """Take the frame that answers the last command.

        Args:
            frame: from this meter, to us.
            at: when its first octet came.
            now: the present.
        """
        found = TABLE.get((self.state, frame.kind))
        if found is None or frame.source_sap != self.sap:
            return [Strange(frame.kind, self.state), *self.silence("unusable answer", now)]
        self._attempts = 0
        self._ask = False
        self.state, step = found
        match step:
            case "begin":
                return [Opened(self.sap)]
            case "information" | "ready" | "busy":
                return self._numbered(step, frame, at, now)
        return self._end(_REASONS[step])

    def silence(self, reason: str, now: WorldTime) -> list[LinkEvent]:
        """Take note that no usable answer came."""
        if self.state is LinkState.CLOSED:
            return []
        self._attempts += 1
        if self._attempts > self._rules.retries:
            return self._end(reason)
        self._not_before = now
        if self._out is not None or self.expecting or self._owed:
            self._ask = True
        return []

    # -- what answers do -------------------------------------------------------------------

    def _numbered(self, step: str, frame: Frame, at: WorldTime, now: WorldTime) -> list[LinkEvent]:
        """Take an I, RR or RNR frame."""
        if not self._acknowledge(frame.nr):
            return self._end(f"N(R) {frame.nr} is out of order")
        if step != "information":
            self._ask = step == "busy"  # nothing new until the meter is ready
            self._pause(now)
            return []
        self._owed = True
        if frame.ns != self._vr:
            return []  # a repetition
        self._vr = (self._vr + 1) & 7
        self._polls = 0
        return [Arrived(frame.information, at)]

    def _acknowledge(self, nr: int) -> bool:
        """Take N(R); False if it is neither the old nor the new one."""
        if self._out is None:
            return nr == self._vs
        if nr == (self._vs + 1) & 7:
            self._vs = nr
            self._out = None
            self._repeat = False
            return True
        self._repeat = True
        return nr == self._vs

    def _pause(self, now: WorldTime) -> None:
        self._polls += 1
        rules = self._rules
        slow = self._polls > rules.polls
        pause = rules.poll_slow_ms if slow else rules.poll_pause_ms
        self._not_before = now if self._queue else now + pause * MILLISECOND

    def _end(self, reason: str) -> list[LinkEvent]:
        self._forget()
        self.state = LinkState.CLOSED
        return [Closed(reason)]

    def _forget(self) -> None:
        self._queue.clear()
        self._queued = self._vs = self._vr = self._attempts = self._polls = 0
        self._out = None
        self._repeat = self._ask = self._owed = self.expecting = self._finish = False
        self._not_before = WorldTime(0)

    def _frame(self, octet: int, information: bytes = b"") -> Frame:
        own = self._rules.gateway_address
        return Frame(self.address, self.sap, own, self.sap, octet, information)
