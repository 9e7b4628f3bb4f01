"""The gateway on the bus: one command or broadcast at a time, and everybody gets a turn.

Theory of operation. The line is half duplex and the gateway its only primary, so at any moment
either nothing is on the way, or an *exchange* (a command and the answer of one station), or a
*window* (a broadcast and the answers in their slots). What comes decides when it is over:

* exchange: the station's frame, or the response time without one. After octets that are no good
  frame the line must be silent for :attr:`LmnBus.gap_ms`, then the link asks again.
* window: its time; a check ends early when everybody has answered.

Then the next one begins: a broadcast if it is due (allocation every 1.5 s while nobody is known,
else check and allocation in turn; soon again when answers collided), else the link that wants a
turn and had none for the longest time.

Frames nobody asked for are counted and told, never obeyed. Frames with the gateway's own source
address are its own, echoed by the transceiver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lmn.bus.discovery import Answers, Discovery, Found, Lost, Station, read_answer
from lmn.bus.records import MAX_RECORDS, decode_records, encode_records
from lmn.hdlc.frame import MAX_FRAME, Frame, Kind, control, encode_frame
from lmn.hdlc.primary import Closed, LinkEvent, Strange
from lmn.hdlc.receiver import HdlcDamage, HdlcReceiver, Received
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import MILLISECOND, SECOND, WorldTime
from smgw_emu.profiles import LmnBus

BITS_PER_OCTET = 10  # 8N1


class TroubleKind(StrEnum):
    """What can go wrong on the line."""

    DAMAGE = "damage"
    ECHO = "echo"
    UNASKED = "unasked"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class FromStation:
    """What a station's link tells."""

    station: Station
    event: LinkEvent


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something on the line that should not be; ``octets``: how much of it."""

    kind: TroubleKind
    detail: str
    octets: int = 0


BusEvent = Found | Lost | FromStation | Trouble


@dataclass(slots=True)
class _Exchange:
    station: Station
    until: WorldTime
    damaged: str = ""


@dataclass(slots=True)
class _Window:
    sap: int
    begin: WorldTime
    until: WorldTime
    expected: int
    answers: Answers
    damaged: bool = False


class Bus:
    """The primary of one line.

    Args:
        rules: the table of the line.
    """

    def __init__(self, rules: LmnBus) -> None:
        self._rules = rules
        self._receiver = HdlcReceiver(rules)
        self._discovery = Discovery(rules)
        self._turn: _Exchange | _Window | None = None
        self._check_next = False
        self._broadcast_at: WorldTime | None = None
        self._out = b""
        self._reopen: dict[int, WorldTime] = {}
        self.octets_sent = self.octets_received = 0

    @property
    def stations(self) -> list[Station]:
        """Who has an address."""
        return list(self._discovery.stations.values())

    def start(self, now: WorldTime) -> None:
        """The line is there: look for participants."""
        self._broadcast_at, self._check_next = now, False
        self._next(now)

    def stop(self, reason: str) -> list[BusEvent]:
        """The line is gone, and everybody with it."""
        self._turn = self._broadcast_at = None
        self._out = b""
        self._receiver = HdlcReceiver(self._rules)
        return [*self._discovery.drop_all(reason)]

    def output(self) -> bytes:
        """Return and forget what must be sent now."""
        out, self._out = self._out, b""
        return out

    def wake(self, now: WorldTime) -> None:
        """A link has got something to do."""
        if self._turn is None:
            self._next(now)

    def drop(self, station: Station, reason: str) -> list[BusEvent]:
        """Forget a station that cannot be talked to; it gets a new address."""
        if isinstance(self._turn, _Exchange) and self._turn.station is station:
            self._turn = None
        return [*self._discovery.drop(station, reason)]

    # -- time ------------------------------------------------------------------------------

    def next_deadline(self) -> WorldTime | None:
        """Return when :meth:`on_deadline` must be called."""
        if self._turn is not None:
            return self._turn.until
        if self._broadcast_at is None:
            return None
        wanted = [
            at for s in self._discovery.stations.values() if (at := s.link.wants()) is not None
        ]
        return min(self._broadcast_at, *wanted) if wanted else self._broadcast_at

    def on_deadline(self, now: WorldTime) -> list[BusEvent]:
        """Do what is due."""
        turn = self._turn
        events: list[BusEvent] = []
        if turn is not None:
            if now < turn.until:
                return []
            events += self._heard(self._receiver.reset(), now)
            turn = self._turn
            if isinstance(turn, _Exchange):
                self._turn = None
                events += self._failed(turn, now)
            elif isinstance(turn, _Window):
                events += self._close_window(turn, now)
        if self._broadcast_at is not None:
            self._next(now)
        return events

    def receive(self, data: bytes, now: WorldTime) -> list[BusEvent]:
        """Take octets of the line."""
        self.octets_received += len(data)
        events = self._heard(self._receiver.receive(data, now), now)
        if self._turn is None and self._broadcast_at is not None:
            self._next(now)
        return events

    # -- sending ---------------------------------------------------------------------------

    def line_time(self, octets: int) -> int:
        """Return how long octets take on the line, in nanoseconds."""
        return octets * BITS_PER_OCTET * SECOND // self._rules.baud

    def _next(self, now: WorldTime) -> None:
        if self._broadcast_at is not None and now >= self._broadcast_at:
            self._broadcast(now)
            return
        ready = [
            station
            for station in self._discovery.stations.values()
            if (at := station.link.wants()) is not None and at <= now
        ]
        if not ready:
            return
        station = min(ready, key=lambda one: one.last_turn)
        frame = station.link.turn()
        if frame is None:
            return
        station.last_turn = now
        end = self._send(frame, now)
        # the answer may be the longest frame there is
        until = end + self._rules.response_ms * MILLISECOND + self.line_time(MAX_FRAME)
        self._turn = _Exchange(station, until)

    def _send(self, frame: Frame, now: WorldTime) -> WorldTime:
        """Put a frame on the line; returns when its last octet has left."""
        data = encode_frame(frame, sap_first=self._rules.sap_first)
        self._out += data
        self.octets_sent += len(data)
        return now + self.line_time(len(data))

    def _broadcast(self, now: WorldTime) -> None:
        rules, stations = self._rules, self.stations
        check = self._check_next and bool(stations)
        sap = rules.sap_check if check else rules.sap_allocation
        records = [
            station.record(slot if check else 0) for slot, station in enumerate(stations, start=1)
        ]
        frame = Frame(
            rules.broadcast_address,
            sap,
            rules.gateway_address,
            sap,
            control(Kind.UI),
            encode_records(records),
        )
        end = self._send(frame, now)
        guard = rules.broadcast_ms - rules.slots * rules.slot_ms
        width = len(stations) * rules.slot_ms + guard if check else rules.broadcast_ms
        until = end + max(width, 0) * MILLISECOND
        self._turn = _Window(sap, now, until, len(stations) if check else 0, Answers())

    # -- receiving -------------------------------------------------------------------------

    def _heard(self, items: Sequence[Received | HdlcDamage], now: WorldTime) -> list[BusEvent]:
        events: list[BusEvent] = []
        for item in items:
            if isinstance(item, HdlcDamage):
                events += self._damage(item, now)
                continue
            frame, at = item.frame, item.at
            if frame.source == self._rules.gateway_address:
                events.append(Trouble(TroubleKind.ECHO, "the line gives back what is sent"))
            elif frame.destination != self._rules.gateway_address:
                events.append(self._unasked(frame))
            elif isinstance(self._turn, _Window):
                events += self._answer_in_window(self._turn, frame, now)
            else:
                events += self._answer(frame, at, now)
        return events

    def _damage(self, item: HdlcDamage, now: WorldTime) -> list[BusEvent]:
        turn = self._turn
        if isinstance(turn, _Exchange):
            turn.damaged = item.reason
            turn.until = min(turn.until, now + self._rules.gap_ms * MILLISECOND)
        elif isinstance(turn, _Window):
            turn.damaged = True
        return [Trouble(TroubleKind.DAMAGE, item.reason, item.octets)]

    def _unasked(self, frame: Frame) -> Trouble:
        where = f"{frame.kind} from {frame.source} to {frame.destination}"
        return Trouble(TroubleKind.UNASKED, where)

    def _answer(self, frame: Frame, at: WorldTime, now: WorldTime) -> list[BusEvent]:
        turn = self._turn
        if not isinstance(turn, _Exchange) or frame.source != turn.station.address:
            return [self._unasked(frame)]
        self._turn = None
        station = turn.station
        station.heard = True
        station.frames += 1
        return self._told(station, station.link.answer(frame, at, now))

    def _failed(self, turn: _Exchange, now: WorldTime) -> list[BusEvent]:
        station = turn.station
        station.damaged += 1
        reason = f"damaged answer ({turn.damaged})" if turn.damaged else "no answer"
        return self._told(station, station.link.silence(reason, now))

    def _told(self, station: Station, events: list[LinkEvent]) -> list[BusEvent]:
        told: list[BusEvent] = []
        for event in events:
            if isinstance(event, Strange):
                told.append(
                    Trouble(
                        TroubleKind.UNASKED,
                        f"{event.kind} from {station.address} while the link is {event.state}",
                    )
                )
            else:
                told.append(FromStation(station, event))
                if isinstance(event, Closed) and event.reason.startswith("damaged"):
                    # two stations on one address look like this: let them draw anew
                    told += self.drop(station, "answers are damaged")
        return told

    def _answer_in_window(self, window: _Window, frame: Frame, now: WorldTime) -> list[BusEvent]:
        if frame.kind is not Kind.UI or frame.destination_sap != window.sap:
            return [self._unasked(frame)]
        try:
            record = read_answer(frame, decode_records(frame.information), self._rules)
        except RemoteProtocolError as error:
            return [Trouble(TroubleKind.CONFLICT, str(error))]
        answers = window.answers
        if len(answers.records) < 2 * MAX_RECORDS:
            answers.records.append(record)
        if window.expected and len({one.address for one in answers.records}) >= window.expected:
            return self._close_window(window, now)
        return []

    def _close_window(self, window: _Window, now: WorldTime) -> list[BusEvent]:
        rules, answers = self._rules, window.answers
        self._turn = None
        check = window.sap == rules.sap_check and window.expected > 0
        changes = (
            self._discovery.checked(answers, rules.missed_checks)
            if check
            else self._discovery.allocated(answers, now)
        )
        pause = rules.allocation_ms if check else rules.check_ms
        self._check_next = not check
        if not self._discovery.stations or (not check and (window.damaged or answers.faults)):
            pause, self._check_next = rules.empty_ms, False
        self._broadcast_at = max(now, window.begin + pause * MILLISECOND)
        return [*(Trouble(TroubleKind.CONFLICT, fault) for fault in answers.faults), *changes]
