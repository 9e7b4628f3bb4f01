"""A meter's end of the link: the counterpart of :mod:`lmn.hdlc.primary`, with the same window of 1.

Theory of operation (ISO 13239, normal response mode). The meter speaks only in answer to a command
with the P bit. Without a connection everything but SNRM is answered with DM, as is every command to
another protocol than the connected one. SNRM always begins anew, also over a standing connection: a
gateway that was restarted knows nothing of it. An I frame that N(R) does not acknowledge is
repeated as it was. :data:`TABLE` says what each command does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from lmn.hdlc.frame import Frame, Kind, control
from lmn.hdlc.primary import Arrived, Closed, LinkState, Opened
from smgw_emu.core.instants import WorldTime
from smgw_emu.profiles import LmnBus

TABLE: Mapping[tuple[LinkState, Kind], tuple[LinkState, str]] = MappingProxyType(
    {
        (LinkState.CLOSED, Kind.SNRM): (LinkState.OPEN, "connect"),
        (LinkState.OPEN, Kind.SNRM): (LinkState.OPEN, "connect"),
        (LinkState.OPEN, Kind.DISC): (LinkState.CLOSED, "disconnect"),
        (LinkState.OPEN, Kind.I): (LinkState.OPEN, "information"),
        (LinkState.OPEN, Kind.RR): (LinkState.OPEN, "poll"),
        (LinkState.OPEN, Kind.RNR): (LinkState.OPEN, "poll"),
    }
)
"""(state, command) -> (state, step); what is not in it is answered with DM."""


class SecondaryLink:
    """The meter's end.

    Args:
        rules: limits.
        accepts: tells whether a connection to a SAP is allowed now.
    """

    def __init__(self, rules: LmnBus, accepts: Callable[[int], bool]) -> None:
        self._rules = rules
        self._accepts = accepts
        self.state = LinkState.CLOSED
        self.sap = 0
        self.busy = False
        self._queue: deque[bytes] = deque()
        self._out: bytes | None = None
        self._vs = self._vr = 0
        self._reply: Frame | None = None

    def send(self, data: bytes) -> None:
        """Queue octets for the next polls; without a connection they are lost."""
        if self.state is LinkState.OPEN:
            size = self._rules.send_information
            self._queue.extend(data[start : start + size] for start in range(0, len(data), size))

    def receive(self, frame: Frame, at: WorldTime) -> list[Opened | Arrived | Closed]:
        """Take a command to this meter; :meth:`answer` says then what to send."""
        self._reply = None
        found = TABLE.get((self.state, frame.kind))
        step = "" if found is None else found[1]
        if step == "connect":
            return self._connect(frame)
        if found is None or frame.destination_sap != self.sap:
            known = frame.kind is not Kind.UNKNOWN or self.state is LinkState.CLOSED
            self._reply = self._to(frame, control(Kind.DM if known else Kind.FRMR))
            return []
        if step == "disconnect":
            self.reset()
            self._reply = self._to(frame, control(Kind.UA))
            return [Closed("disconnected")]
        if not self._acknowledge(frame):
            return [Closed("sequence error")]
        return self._information(frame, at) if step == "information" else []

    def answer(self, frame: Frame) -> Frame | None:
        """Return the answer to the command just taken; None without the P bit."""
        if not frame.poll_final:
            return None
        if self._reply is not None:
            return self._reply
        if self.busy:
            return self._to(frame, control(Kind.RNR, nr=self._vr))
        if self._out is None and self._queue:
            self._out = self._queue.popleft()
        if self._out is not None and frame.kind is not Kind.RNR:
            return self._to(frame, control(Kind.I, nr=self._vr, ns=self._vs), self._out)
        return self._to(frame, control(Kind.RR, nr=self._vr))

    def reset(self) -> None:
        """Lose the connection, as at a loss of power or address."""
        self.state = LinkState.CLOSED
        self._forget()

    # -- what commands do ------------------------------------------------------------------

    def _connect(self, frame: Frame) -> list[Opened | Arrived | Closed]:
        events: list[Opened | Arrived | Closed] = []
        if self.state is LinkState.OPEN:
            events.append(Closed("connected anew"))
        self.reset()
        if not self._accepts(frame.destination_sap):
            self._reply = self._to(frame, control(Kind.DM))
            return events
        self.state, self.sap = LinkState.OPEN, frame.destination_sap
        self._reply = self._to(frame, control(Kind.UA))
        return [*events, Opened(self.sap)]

    def _information(self, frame: Frame, at: WorldTime) -> list[Opened | Arrived | Closed]:
        if frame.ns != self._vr or self.busy:
            return []
        self._vr = (self._vr + 1) & 7
        return [Arrived(frame.information, at)]

    def _acknowledge(self, frame: Frame) -> bool:
        """Take N(R); one that cannot be is answered with FRMR and ends the connection."""
        if self._out is not None and frame.nr == (self._vs + 1) & 7:
            self._vs = frame.nr
            self._out = None
            return True
        if frame.nr == self._vs:
            return True
        self.reset()
        self._reply = self._to(frame, control(Kind.FRMR))
        return False

    def _forget(self) -> None:
        self._queue.clear()
        self._out = None
        self._vs = self._vr = 0
        self.busy = False

    @staticmethod
    def _to(frame: Frame, octet: int, information: bytes = b"") -> Frame:
        return Frame(
            frame.source,
            frame.source_sap,
            frame.destination,
            frame.destination_sap,
            octet,
            information,
        )
