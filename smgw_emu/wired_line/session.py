"""Pairing, TLS and SML with one wired meter, without I/O.

Theory of operation (TR-03109-1 v1.0 LKS1; DS v2.0 8.3, 9.3; ``lmn-wired.md`` 1.5 to 1.7). Over the
station's link the session does one thing after the other:

* not paired, MK0 there: connect to SYM, pair (:mod:`lmn.sym`), disconnect;
* paired: connect to TLS; the gateway is client, or server where the profile says so; the other
  certificate is pinned. The payload limit and the longest session end TLS with close_notify, and
  a new session begins at once; registrations do not notice.
* TLS stands: one SML order at a time; its answer is one SML file.
* crypto reset ordered: connect to SYM, reset, forget the association.

A lost link loses the TLS session. What was asked for is asked again on the next one until its time
is over: reading twice does no harm, and an answer is taken once. What changes the meter is not
repeated; it has failed. A failure is followed by a pause that doubles up to a maximum.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hsm_sim import SecurityModuleError
from lmn.bus import Station
from lmn.hdlc.primary import Arrived, Closed, LinkEvent, LinkState, Opened
from lmn.sml import SmlDamage, SmlReceiver, decode_messages
from lmn.sml.messages import Message
from lmn.sml.orders import Order, OrderKind, encode_order
from lmn.sym import CryptoReset, Failed, Finished, Pairing, Send
from smgw_emu.core.errors import RemoteProtocolError, SmgwError
from smgw_emu.core.instants import MILLISECOND, SECOND, WorldTime
from smgw_emu.profiles import Profile
from smgw_emu.transport.tls import Data, Ended, Established, TlsConnection, TlsEnd, TlsEvent
from smgw_emu.wired_line.credentials import MeterCredentials
from smgw_emu.wired_line.records import RecordPacker

MAX_ORDERS = 64  # own choice: a meter that answers nothing must not fill the memory
STABLE = 60 * SECOND  # own choice: a session that lived so long is no flapping one
_REPEATED = frozenset({OrderKind.READ, OrderKind.INFORMATION, OrderKind.CLOCK_STATE})


class SessionState(StrEnum):
    """Where a session is."""

    NO_KEY = "no-key"
    WAITING = "waiting"
    CONNECTING = "connecting"
    PAIRING = "pairing"
    RESETTING = "resetting"
    HANDSHAKE = "handshake"
    READY = "ready"


Answer = Callable[[list[Message] | None, str, WorldTime], None]
"""Called once per order: messages of the answer or None, why not, when its first octet came."""


@dataclass(slots=True)
class SessionHooks:
    """Whom a session tells; all are logged or shown.

    Attributes:
        paired: pairing or crypto reset has succeeded; the text names which.
        failed: what failed, and why.
        ready: TLS stands.
        ended: TLS has ended, and why.
        device_time: for the certificates of a pairing.
    """

    paired: Callable[[str], None]
    failed: Callable[[str, str], None]
    ready: Callable[[], None]
    ended: Callable[[str], None]
    device_time: Callable[[], datetime]


@dataclass(slots=True)
class _Job:
    order: Order
    answer: Answer
    until: WorldTime
    sent: bool = False


class MeterSession:
    """The gateway's dealings with one station that a meter profile names.

    Args:
        station: its place on the bus.
        credentials: keys towards this meter.
        client_id: server id of the gateway.
        profile: limits.
        hooks: whom to tell.
        keylog: file for TLS secrets of captures.
    """

    def __init__(
        self,
        station: Station,
        credentials: MeterCredentials,
        client_id: bytes,
        profile: Profile,
        hooks: SessionHooks,
        keylog: str = "",
    ) -> None:
        self.station = station
        self.credentials = credentials
        self.state = SessionState.WAITING
        self.reset_ordered = False
        self.renewing = False
        self._client_id = client_id
        self._profile = profile
        self._rules = profile.lmn_wired
        self._hooks = hooks
        self._keylog = keylog
        self._sequence: Pairing | CryptoReset | None = None
        self._tls: TlsConnection | None = None
        self._packer = RecordPacker(1, packed=False)
        self._sml = SmlReceiver(profile.sml.max_frame)
        self._jobs: deque[_Job] = deque()
        self._number = 0
        self._retry_at: WorldTime | None = None
        self._retry_s = 0
        self._step_until: WorldTime | None = None
        self._closing = ""
        self._arrival = WorldTime(0)
        self.sessions = 0
        self._ready_at = WorldTime(0)
        self._reset_done: Callable[[str, str], None] | None = None

    # -- orders ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; the station has just got its address."""
        self._connect()

    def order(self, order: Order, answer: Answer, now: WorldTime) -> None:
        """Ask the meter; the answer comes back through ``answer``, whatever happens."""
        if len(self._jobs) >= MAX_ORDERS:
            answer(None, "too many orders wait", now)
            return
        self._jobs.append(_Job(order, answer, now + self._rules.answer_s * SECOND))
        self._work(now)

    def waiting(self, kind: OrderKind) -> bool:
        """Tell whether an order of that kind waits or is under way."""
        return any(job.order.kind is kind for job in self._jobs)

    def crypto_reset(
        self, now: WorldTime, done: Callable[[str, str], None] = lambda _result, _failed: None
    ) -> None:
        """Take the association out of the meter and of the gateway (DS v2.0 8.3.2).

        ``done`` is called with ("", "") or with what failed first; it is tried again then.
        """
        self._report_reset("ordered again")
        self.reset_ordered = True
        self._reset_done = done
        self._restart("crypto reset", now)

    def rebuild(self, now: WorldTime) -> None:
        """Begin a new TLS session, with the certificates as they are now."""
        self._restart("certificates have changed", now)

    def stop(self, reason: str, now: WorldTime) -> None:
        """The station is gone: nothing that waits will be answered."""
        self.state = SessionState.WAITING
        self._retry_at = self._step_until = None
        self._lose_tls(reason)
        self._report_reset(reason)
        jobs, self._jobs = self._jobs, deque()
        for job in jobs:
            job.answer(None, reason, now)

    # -- time ------------------------------------------------------------------------------

    def next_deadline(self) -> WorldTime | None:
        """Return when :meth:`on_deadline` must be called."""
        tls = None if self._tls is None else self._tls.next_deadline()
        times = [self._retry_at, self._step_until, tls, *(job.until for job in self._jobs)]
        return min((at for at in times if at is not None), default=None)

    def on_deadline(self, now: WorldTime) -> None:
        """Do what is due."""
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._connect()
        if self._step_until is not None and now >= self._step_until:
            self._step_until = None
            self._fail(self.state, "no answer; is the master key right?", now)
        if self._tls is not None:
            self._take(self._tls.on_deadline(now), now)
        for job in [job for job in self._jobs if now >= job.until]:
            self._jobs.remove(job)
            job.answer(None, "no answer in time", now)
            if job.sent:
                self._restart("no answer to an order", now)
        self._work(now)

    # -- the link --------------------------------------------------------------------------

    def on_link(self, event: LinkEvent, now: WorldTime) -> None:
        """Take an event of the station's link."""
        match event:
            case Opened(sap):
                self._opened(sap, now)
            case Arrived(data, at):
                self._arrived(data, at, now)
            case Closed(reason):
                self._closed(reason, now)

    def _connect(self) -> None:
        credentials, bus = self.credentials, self._profile.lmn_bus
        link = self.station.link
        if self.reset_ordered or not credentials.paired:
            if not credentials.has_master_key:
                self.state = SessionState.NO_KEY
                self.reset_ordered = False
                self._report_reset("no master key")
                return
            link.open(bus.sap_sym)
        else:
            link.open(bus.sap_tls)
        self.state = SessionState.CONNECTING
        self._step_until = None

    def _opened(self, sap: int, now: WorldTime) -> None:
        try:
            if sap == self._profile.lmn_bus.sap_sym:
                self._begin_pairing(now)
            elif self.reset_ordered:
                self._restart("crypto reset", now)
            else:
                self._begin_tls(now)
        except (SmgwError, ssl.SSLError) as error:
            self._fail(SessionState.CONNECTING, str(error), now)

    def _arrived(self, data: bytes, at: WorldTime, now: WorldTime) -> None:
        if self._closing:
            return  # on the way out
        if self._sequence is not None:
            self._pairing_answer(data, now)
        elif self._tls is not None:
            self._arrival = at
            self._take(self._tls.receive(data, now), now)

    def _closed(self, reason: str, now: WorldTime) -> None:
        planned, self._closing = self._closing, ""
        self._sequence = None
        if planned:
            self._lose_tls(planned)
            self._connect()
            return
        was = self.state
        self._lose_tls(reason)
        if was is SessionState.WAITING:
            return
        self._fail(was, reason or "disconnected", now)

    def _restart(self, reason: str, now: WorldTime) -> None:
        """Leave the connection in order and connect again."""
        if self.station.link.state is LinkState.OPEN:
            if self._tls is not None:
                self._tls.close()
                self._flush()
            self._closing = reason
            self.station.link.close()
        elif self.state in {SessionState.NO_KEY, SessionState.WAITING}:
            self._retry_at = now

    def _fail(self, state: SessionState, reason: str, now: WorldTime) -> None:
        """Say what failed and try again after a pause."""
        self._sequence = None
        self._lose_tls(reason)
        if self.station.link.state is LinkState.OPEN:
            self.station.link.close()
        self.state = SessionState.WAITING
        self._step_until = None
        rules = self._rules
        # what worked for a while, or fails for the first time, is tried again soon; the rest waits
        # longer and longer
        if state is SessionState.READY and now - self._ready_at >= STABLE:
            self._retry_s = 0
        soon = self._retry_s == 0 and state in {SessionState.READY, SessionState.CONNECTING}
        self._retry_s = min(max(2 * self._retry_s, rules.retry_s), rules.retry_max_s)
        pause = self._profile.lmn_bus.reopen_ms * MILLISECOND if soon else self._retry_s * SECOND
        self._retry_at = now + pause
        self._hooks.failed(str(state), reason)
        if self.reset_ordered:
            self._report_reset(reason)

    def _report_reset(self, failed: str) -> None:
        done, self._reset_done = self._reset_done, None
        if done is not None:
            done("", failed)

    # -- SYM -------------------------------------------------------------------------------

    def _begin_pairing(self, now: WorldTime) -> None:
        credentials = self.credentials
        codec, counter = credentials.codec(), credentials.last_counter
        if self.reset_ordered:
            self.state, self._sequence = SessionState.RESETTING, CryptoReset(codec, counter)
        else:
            made = credentials.make(self._hooks.device_time())
            self.state, self._sequence = SessionState.PAIRING, Pairing(codec, made, counter)
        self._say(self._sequence.start(), now)

    def _say(self, message: Send, now: WorldTime) -> None:
        link = self.station.link
        link.send(message.data)
        link.expecting = True
        self._step_until = now + self._rules.answer_s * SECOND

    def _pairing_answer(self, data: bytes, now: WorldTime) -> None:
        sequence = self._sequence
        assert sequence is not None
        outcome = sequence.receive(data)
        self.credentials.keep_counter(sequence.last_counter)
        match outcome:
            case Send():
                self._say(outcome, now)
            case Finished():
                try:
                    self._paired()
                except SecurityModuleError as error:
                    self._fail(self.state, str(error), now)
            case Failed(reason):
                self._fail(self.state, reason, now)

    def _paired(self) -> None:
        what = str(self.state)
        if self.state is SessionState.RESETTING:
            self.credentials.forget()
            self.reset_ordered = False
            self._report_reset("")
        else:
            self.credentials.commit()
        self._sequence = None
        self._step_until = None
        self._retry_s = 0
        self.station.link.expecting = False
        self._closing = what
        self.station.link.close()
        self._hooks.paired(what)

    # -- TLS -------------------------------------------------------------------------------

    def _begin_tls(self, now: WorldTime) -> None:
        bus = self._profile.lmn_bus
        server = self._rules.tls_role == "server"
        context = self.credentials.context(self._keylog)
        self._tls = TlsConnection(
            context.context,
            self._profile.lmn_tls,
            now,
            server_side=server,
            watcher=self.credentials.watcher(),
        )
        self._packer = RecordPacker(bus.send_information, packed=bus.records_packed)
        self._sml = SmlReceiver(self._profile.sml.max_frame)
        self.state = SessionState.HANDSHAKE
        self.station.link.expecting = True
        if not server:
            self._take(self._tls.start(now), now)

    def _take(self, events: list[TlsEvent], now: WorldTime) -> None:
        self._flush()
        for event in events:
            match event:
                case Established(certificate):
                    self._established(certificate, now)
                case Data(data):
                    self._received(data, now)
                case Ended(reason, detail):
                    self._ended(reason, detail, now)

    def _flush(self) -> None:
        """Put what TLS wants to say on the link."""
        link = self.station.link
        if self._tls is None:
            return
        out = self._tls.output()
        if link.state is LinkState.OPEN:
            for piece in self._packer.pack(out):
                link.send(piece)

    def _established(self, certificate: bytes | None, now: WorldTime) -> None:
        self.state = SessionState.READY
        self.sessions += 1
        self._ready_at = now
        self.station.link.expecting = False
        try:
            self.credentials.shown(certificate)
        except SecurityModuleError as error:
            self._hooks.failed(str(self.state), str(error))
        self._hooks.ready()
        self._work(now)

    def _ended(self, reason: TlsEnd, detail: str, now: WorldTime) -> None:
        """TLS is over: rebuild at once what ended in order, after a pause what failed."""
        state = self.state
        text = f"{reason}: {detail}" if detail else str(reason)
        if reason in {TlsEnd.VOLUME, TlsEnd.TOO_OLD, TlsEnd.LOCAL}:
            self._lose_tls(text)
            self._restart(text, now)
        else:
            self._fail(state, text, now)

    def _lose_tls(self, reason: str) -> None:
        tls, self._tls = self._tls, None
        if tls is None:
            return
        if tls.established:
            self._hooks.ended(reason)
        for job in list(self._jobs):
            if job.sent and job.order.kind not in _REPEATED:
                self._jobs.remove(job)
                job.answer(None, reason, job.until)
            job.sent = False

    # -- SML -------------------------------------------------------------------------------

    def _work(self, now: WorldTime) -> None:
        """Send the next order if none is under way."""
        if self.state is not SessionState.READY or self._tls is None or not self._jobs:
            return
        if self._closing:
            return  # the next session takes it
        job = self._jobs[0]
        if job.sent:
            return
        self._number += 1
        data = encode_order(job.order, self._client_id, self._number)
        job.sent = True
        tls, size = self._tls, self._rules.plaintext
        for start in range(0, len(data), size):
            events = tls.send(data[start : start + size], now)
            if events:
                job.sent = False
                self._take(events, now)
                return
        self._flush()
        self.station.link.expecting = True

    def _received(self, data: bytes, now: WorldTime) -> None:
        for item in self._sml.receive(data):
            job = self._jobs[0] if self._jobs and self._jobs[0].sent else None
            if job is None:
                self._hooks.failed("sml", "an answer nobody asked for")
                continue
            self._jobs.popleft()
            self.station.link.expecting = False
            if isinstance(item, SmlDamage):
                job.answer(None, f"SML: {item.reason}", now)
                continue
            limits = self._profile.sml
            try:
                messages = decode_messages(item.payload, limits.max_depth, limits.max_elements)
            except RemoteProtocolError as error:
                job.answer(None, f"SML: {error}", now)
                continue
            job.answer(messages, "", self._arrival)
        self._work(now)
