"""Who is on the bus: what the answers to allocation and check broadcasts mean.

Theory of operation (``lmn-wired.md`` 1.3; DS v2.0 REQ.TLSHDLC.SMGW.30):

* A meter that does not find itself in the allocation list answers with an address it has drawn. It
  is taken in unless that address is offered twice or in use: then neither is unique, both are
  dropped, and both draw anew at the next allocation, because the list does not name them.
* A known meter that answers with another address has been without power: it is taken in anew.
* A listed meter that is silent in a check, and was silent since the last one, is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lmn.bus.records import MAX_RECORDS, Record
from lmn.hdlc.frame import Frame
from lmn.hdlc.primary import PrimaryLink
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import WorldTime
from smgw_emu.profiles import LmnBus


@dataclass(eq=False, slots=True)
class Station:
    """A participant as the gateway knows it; lost with its power (DS v2.0 8.1).

    Attributes:
        address: HDLC address.
        participant, sensor: ids.
        link: the connection.
        since: when it got its address.
        last_turn: when it was last asked.
        heard: a good frame came since the last check.
        missed: checks in a row without an answer.
        frames, damaged: good answers, and exchanges without a usable one.
    """

    address: int
    participant: bytes
    sensor: bytes
    link: PrimaryLink
    since: WorldTime
    last_turn: WorldTime = field(default_factory=lambda: WorldTime(0))
    heard: bool = True
    missed: int = 0
    frames: int = 0
    damaged: int = 0

    def record(self, slot: int) -> Record:
        """Return its record for a list."""
        return Record(self.address, slot, self.participant, self.sensor)


@dataclass(frozen=True, slots=True)
class Found:
    """A participant has got its address."""

    station: Station


@dataclass(frozen=True, slots=True)
class Lost:
    """A participant is no longer on the list; ``reason`` in English, for the log."""

    station: Station
    reason: str


@dataclass(slots=True)
class Answers:
    """Answers to one broadcast, and what was wrong with others."""

    records: list[Record] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_answer(frame: Frame, records: list[Record], rules: LmnBus) -> Record:
    """Return the record of an answer to a broadcast.

    Raises:
        RemoteProtocolError: not exactly one, or not of the sender, or a reserved address.
    """
    if len(records) != 1:
        raise RemoteProtocolError(f"an answer with {len(records)} records")
    record = records[0]
    drawn = rules.first_address <= record.address <= rules.last_address
    if not drawn and record.address != rules.special_address:
        raise RemoteProtocolError(f"address {record.address} is reserved")
    if record.address != frame.source:
        raise RemoteProtocolError(f"address {frame.source} answers for {record.address}")
    if not record.participant:
        raise RemoteProtocolError("an answer without participant id")
    return record


class Discovery:
    """The list of participants.

    Args:
        rules: addresses.
    """

    def __init__(self, rules: LmnBus) -> None:
        self._rules = rules
        self.stations: dict[int, Station] = {}

    def find(self, participant: bytes) -> Station | None:
        """Return the station of a participant."""
        return next((s for s in self.stations.values() if s.participant == participant), None)

    def allocated(self, answers: Answers, now: WorldTime) -> list[Found | Lost]:
        """Take the answers to an allocation."""
        events: list[Found | Lost] = []
        for record in _unique(answers):
            holder = self.stations.get(record.address)
            if holder is not None and holder.participant != record.participant:
                answers.faults.append(f"address {record.address} is claimed by two participants")
                events.append(self._drop(holder, "address conflict"))
                continue
            old = self.find(record.participant)
            if old is not None:
                events.append(self._drop(old, "asks for an address again"))
            if len(self.stations) >= MAX_RECORDS:
                answers.faults.append(f"more than {MAX_RECORDS} participants")
                continue
            link = PrimaryLink(record.address, self._rules)
            station = Station(record.address, record.participant, record.sensor, link, now)
            self.stations[record.address] = station
            events.append(Found(station))
        return events

    def checked(self, answers: Answers, misses: int) -> list[Found | Lost]:
        """Take the answers to a check."""
        seen = set()
        for record in answers.records:
            station = self.stations.get(record.address)
            if station is None or station.participant != record.participant:
                answers.faults.append(f"address {record.address} answers a check it is not in")
            else:
                seen.add(record.address)
        events: list[Found | Lost] = []
        for address, station in list(self.stations.items()):
            if address in seen or station.heard:
                station.missed = 0
            else:
                station.missed += 1
            station.heard = False
            if station.missed >= misses:
                events.append(self._drop(station, "silent"))
        return events

    def drop_all(self, reason: str) -> list[Lost]:
        """Forget everybody."""
        return [self._drop(station, reason) for station in list(self.stations.values())]

    def drop(self, station: Station, reason: str) -> list[Lost]:
        """Forget one; it will draw a new address."""
        known = self.stations.get(station.address) is station
        return [self._drop(station, reason)] if known else []

    def _drop(self, station: Station, reason: str) -> Lost:
        del self.stations[station.address]
        return Lost(station, reason)


def _unique(answers: Answers) -> list[Record]:
    """Return the answers whose address and participant nobody else named."""
    addresses: dict[int, int] = {}
    names: dict[bytes, int] = {}
    for record in answers.records:
        addresses[record.address] = addresses.get(record.address, 0) + 1
        names[record.participant] = names.get(record.participant, 0) + 1
    good = []
    for record in answers.records:
        if addresses[record.address] > 1 or names[record.participant] > 1:
            answers.faults.append(f"address {record.address} is offered twice")
        else:
            good.append(record)
    return good
